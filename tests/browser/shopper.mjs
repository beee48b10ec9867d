// Words, a picture, two changes in words, steps back, a filter: what a shopper does.

import { check, same } from "./check.mjs";
import { SCRIPT, drawing } from "./server.mjs";

// A drawing as a PNG file, drawn by the browser itself.
async function rasterised(browser, code) {
  const page = await browser.newPage({ viewport: { width: 256, height: 256 } });
  const svg = Buffer.from(drawing(code)).toString("base64");
  await page.goto(`data:image/svg+xml;base64,${svg}`);
  const bytes = await page.screenshot({ type: "png" });
  await page.close();
  return bytes;
}

export async function shopper(visit, browser) {
  const { page } = visit;
  await visit.open();
  same(await page.title(), "Pictor", "the title");
  check((await visit.text("#notice")).includes("What are you looking for?"), "an empty search says what to do");
  check(await page.locator("#change-words").isDisabled(), "there is nothing to change yet");
  await visit.accessible("the start");

  // Words.
  await page.locator("#words").fill("a slice of cake");
  let answer = await visit.answer(() => page.locator("#search button").click());
  same(await visit.text("#status"), "24 hits", "the number of hits");
  check(answer.hits.slice(0, 5).some((hit) => /cake/.test(hit.texts.name[0])), "no cake among the first five");
  same(await page.locator("#hits img.is-there").first().getAttribute("alt"), "", "a thumbnail beside its name");
  await visit.accessible("hits of words");

  // A picture that the model never saw.
  const fox = await rasterised(browser, "1f98a");
  answer = await visit.answer(() => visit.drop("fox.png", "image/png", fox));
  check(answer.hits.slice(0, 3).some((hit) => hit.id === "1f98a"), `the fox is not among the first: ${answer.hits.map((hit) => hit.id)}`);
  same(await visit.steps(), ["fox.png"], "a picture begins a trail");
  same(await visit.text("#reference-label"), "fox.png", "the reference");
  const byPicture = await visit.names();

  // Two changes in words.
  const change = async (words) => {
    await page.locator("#change-words").fill(words);
    return visit.answer(() => page.locator("#change-apply").click());
  };
  answer = await change("a grey wild animal");
  const changedOnce = await visit.names();
  check(String(changedOnce) !== String(byPicture), "a change in words changes nothing");
  check(answer.hits.slice(0, 8).some((hit) => /wolf|raccoon|dog/.test(hit.texts.name[0])), `no grey animal: ${changedOnce}`);
  answer = await change("in the snow");
  const changedTwice = await visit.names();
  check(String(changedTwice) !== String(changedOnce), "a second change changes nothing");
  same(await visit.steps(), ["fox.png", "a grey wild animal", "in the snow"], "the trail");
  check((await visit.text("#timing")).includes(`joined by ${answer.composer}`), "how the parts were joined");
  await visit.accessible("composed hits");
  await visit.screenshot("page.png");

  // Back and forth, by the page and by the browser.
  await visit.answer(() => page.locator("#back").click());
  same(await visit.names(), changedOnce, "one step back");
  await visit.answer(() => page.locator("#trail button").first().click());
  same(await visit.names(), byPicture, "the first step");
  await visit.answer(() => page.goBack());
  same(await visit.names(), changedOnce, "the browser's way back");
  await visit.answer(() => page.goForward());
  same(await visit.names(), byPicture, "and forth");
  await visit.answer(() => page.locator("#forward").click());
  await visit.answer(() => page.locator("#forward").click());
  same(await visit.names(), changedTwice, "two steps forward");
  check(await page.locator("#forward").isDisabled(), "the end of the trail");

  // A hit as the reference, and one that is liked less.
  answer = await visit.answer(() => page.locator("#hits .choose").first().click());
  same((await visit.steps()).length, 4, "a hit goes on with the trail");
  const shunned = answer.hits[0];
  answer = await visit.answer(() => page.locator("#hits .less").first().click());
  check(!answer.hits.some((hit) => hit.id === shunned.id), "what is liked less is left out");

  // Filters: a chip, another of the same kind, an expression, an expression with a mistake.
  await page.locator("#words").fill("something to eat");
  answer = await visit.answer(() => page.locator("#search button").click());
  const chips = page.locator('.facet[aria-label="subgroup"] .chip');
  const [first, second] = [await chips.nth(0).locator("span").first().innerText(), await chips.nth(1).locator("span").first().innerText()];
  const counted = answer.facets.find((facet) => facet.path === "subgroup").values[0];
  same([first, await chips.nth(0).locator(".count").innerText()], [counted.value, String(counted.count)], "counts are the server's");
  answer = await visit.answer(() => chips.nth(0).click());
  check(answer.hits.length > 0 && answer.hits.every((hit) => hit.payload.subgroup === first), "a chip filters");
  same(await chips.nth(0).getAttribute("aria-pressed"), "true", "the chip is pressed");
  answer = await visit.answer(() => chips.nth(1).click());
  check(answer.hits.every((hit) => [first, second].includes(hit.payload.subgroup)), "two chips of one kind: either");
  check(answer.hits.some((hit) => hit.payload.subgroup === second), "the second chip widens");
  await page.locator("#where").fill('short_name ^= "p"');
  answer = await visit.answer(() => page.locator("#filter button").click());
  check(answer.hits.every((hit) => hit.payload.short_name.startsWith("p") && [first, second].includes(hit.payload.subgroup)), "both filter");
  await visit.accessible("filtered hits");
  const filtered = await visit.names();
  visit.expectsRefusal = true;
  await page.locator("#where").fill('subgroup == "food"');
  await visit.answer(() => page.locator("#filter button").click());
  check((await visit.text("#where-problem")).includes("at byte 10"), `the mistake: ${await visit.text("#where-problem")}`);
  same(await visit.names(), filtered, "the hits stay beside a mistake");
  await visit.accessible("a mistake in a filter");
  visit.expectsRefusal = false;
  await page.locator("#where").fill('group = "nowhere"');
  await visit.answer(() => page.locator("#filter button").click());
  check((await visit.text("#notice")).includes("Nothing passes the filter"), "no hits say why");
  await visit.answer(() => page.getByRole("button", { name: "Clear the filters" }).click());
  same(await visit.text("#status"), "24 hits", "filters are cleared");

  // More, and an item that attacks.
  const more = await visit.answer(() => page.locator("#more").click());
  same([more.hits[0].rank, (await visit.names()).length], [25, 48], "the next hits follow");
  await page.locator("#words").fill(SCRIPT);
  await visit.answer(() => page.locator("#search button").click());
  await page.locator("#where").fill(`title = ${JSON.stringify(SCRIPT)}`);
  await visit.answer(() => page.locator("#filter button").click());
  same(await visit.names(), [SCRIPT], "an attack is shown as it is written");
  await visit.answer(() => page.locator("#hits .choose").first().click());
  check((await visit.steps()).some((step) => step.startsWith("<img src=x")), "also in the trail");
  same(await page.evaluate(() => window.hacked), undefined, "and does not run");
}
