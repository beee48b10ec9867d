// What is shown when things are narrow, missing, refused or gone.

import { check, same } from "./check.mjs";

export async function narrow(visit, screenshot) {
  const { page } = visit;
  await visit.open();
  await visit.accessible("the start");
  await page.locator("#words").fill("a wild animal");
  await visit.answer(() => page.locator("#search button").click());
  await visit.answer(() => page.locator("#hits .choose").nth(2).click());
  await page.locator("#change-words").fill("in the sea");
  await visit.answer(() => page.locator("#change-apply").click());
  same((await visit.steps()).length, 3, "the trail");
  await visit.accessible("composed hits");
  if (screenshot) await visit.screenshot(screenshot);
  await visit.answer(() => page.locator("#group").selectOption("group"));
  await visit.accessible("one of each");
}

export async function wordsOnly(visit) {
  const { page } = visit;
  await visit.open();
  await Promise.all([page.waitForResponse(/\/v1\/collections\/words/), page.locator("#collection").selectOption("words")]);
  await visit.settled();
  check(await page.locator("#choose").isHidden(), "a picture is not asked for where none is taken");
  check((await visit.text("#notice")).includes("Say it in words"), "what the field takes");
  check((await visit.text("#facets-of")).includes("once something is found"), "values come with hits where no path has an index");
  await page.locator("#words").fill("something to eat");
  let answer = await visit.answer(() => page.locator("#search button").click());
  check(answer.hits.length > 2 && answer.hits.every((hit) => hit.thumbnail === null), "notes have no pictures");
  same((await visit.names())[0], answer.hits[0].texts.body[0], "a note is called by its text");
  await visit.accessible("hits without pictures");
  answer = await visit.answer(() => page.locator("#hits .choose").first().click());
  await page.locator("#change-words").fill("about space");
  await visit.answer(() => page.locator("#change-apply").click());
  check((await visit.names()).some((name) => /moon|rocket|space/i.test(name)), "a change in words works here too");
  await visit.drop("a.png", "image/png", Buffer.from("x"));
  check((await visit.text("#notice")).includes("No field here takes pictures"), "a picture is refused with a reason");
}

export async function reloaded(visit) {
  const { page } = visit;
  await visit.open();
  await page.locator("#words").fill("a bird");
  await visit.answer(() => page.locator("#search button").click());
  await visit.answer(() => page.locator("#hits .choose").first().click());
  const [names, steps] = [await visit.names(), await visit.steps()];
  await visit.answer(() => page.reload());
  same(await visit.names(), names, "the address says what was searched");
  await page.waitForFunction((expected) => [...document.querySelectorAll("#trail .value")].some((one) => one.textContent === expected), steps[1]);
  same(await visit.steps(), steps, "the trail has its names again");
  const png = await page.screenshot({ clip: { x: 0, y: 0, width: 64, height: 64 } });
  await visit.answer(() => page.locator("#file").setInputFiles({ name: "mine.png", mimeType: "image/png", buffer: png }));
  await page.reload();
  await visit.settled();
  check((await visit.text("#notice")).includes("The picture is not kept"), "a picture is gone after a reload, and the page says so");
  await visit.accessible("a picture that is gone");
  await page.goto(`${visit.url}/#step=nonsense&at=99&chip=%7B&collection=emoji&field=image`);
  await page.reload();
  await visit.settled();
  check((await visit.text("#notice")).includes("What are you looking for?"), "nonsense in the address is left out");
}

export async function refusals(visit, server) {
  const { page } = visit;
  await visit.open("#collection=emoji&field=text");
  visit.expectsRefusal = true;
  // Asked in words, then by what is no picture inside.
  await page.locator("#field").selectOption("image");
  await visit.settled();
  await visit.answer(() => visit.drop("broken.png", "image/png", Buffer.from("not a picture at all")));
  check((await visit.text("#notice")).includes("This picture cannot be read"), "a bad picture");
  await visit.accessible("a bad picture");
  await page.getByRole("button", { name: "Step back" }).last().click();
  await visit.settled();
  await visit.drop("letter.txt", "text/plain", Buffer.from("Dear"));
  check((await visit.text("#notice")).includes("is no picture"), "a file that is none is not even sent");
  const png = await page.screenshot({ clip: { x: 0, y: 0, width: 64, height: 64 } });
  await visit.answer(() => visit.drop("good.png", "image/png", png));
  await visit.answer(() => page.locator("#field").selectOption("text"));
  check((await visit.text("#notice")).includes("This field cannot answer that"), "a field of texts and a picture");
  await visit.accessible("a field that cannot answer");
  await visit.answer(() => page.getByRole("button", { name: "Search another field" }).click());
  same([await page.locator("#field").inputValue(), await visit.text("#status")], ["image", "24 hits"], "another field can");
  await visit.open("#collection=emoji&field=nothing&step=t%3Aa+bird");
  check((await visit.text("#notice")).includes("There is no such field"), "an unknown field");
  await visit.open("#collection=emoji&field=image&step=i%3Aghost");
  check((await visit.text("#notice")).includes("It is not there any more"), "an item that is gone");
  await visit.open("#collection=emoji&field=image&step=t%3Aa+bird&group=a..b");
  check((await visit.text("#notice")).includes("Hits cannot be grouped by that"), "a group that is no path");
  await visit.answer(() => page.getByRole("button", { name: "Show every hit" }).click());
  same(await visit.text("#status"), "24 hits", "every hit");

  await visit.open("#collection=emoji&field=image&step=t%3Aa+bird");
  const names = await visit.names();
  await server.stop();
  await page.locator("#words").fill("a fish");
  await page.locator("#search button").click();
  await page.waitForFunction(() => document.getElementById("notice").textContent.includes("The server does not answer"));
  await visit.accessible("a server that is gone");
  await page.getByRole("button", { name: "Try again" }).click();
  await visit.settled();
  check((await visit.text("#notice")).includes("The server does not answer"), "still gone");
  await server.run();
  await visit.answer(() => page.getByRole("button", { name: "Try again" }).click());
  same(await visit.text("#status"), "24 hits", "and back again");
  check(String(await visit.names()) !== String(names), "with what was asked last");
  visit.expectsRefusal = false;
}

export async function emptyAndLocked(visit, server) {
  const { page } = visit;
  visit.expectsRefusal = true;
  await visit.open();
  check((await visit.text("#notice")).includes("asks for a key"), "the page asks for a key");
  same(await page.evaluate(() => document.activeElement.id), "key", "and waits in its box");
  await visit.accessible("a key is asked for");
  await page.keyboard.type("a-wrong-key-000000");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.getElementById("notice").textContent.includes("does not know this key"));
  await page.locator("#key").fill("browser-test-key-0001");
  await page.getByRole("button", { name: "Use it" }).click();
  await page.waitForFunction(() => document.getElementById("notice").textContent.includes("No collections yet"));
  visit.expectsRefusal = false;
  await visit.accessible("no collections");
  server.pictor("collection", "create", "notes", "--text-field", "text=all-minilm-l6-v2");
  await page.getByRole("button", { name: "Look again" }).click();
  await page.waitForFunction(() => document.getElementById("notice").textContent.includes("is empty"));
  await visit.accessible("an empty collection");
  server.fill();
  await page.goto(`${visit.url}/#collection=emoji&field=image&step=t%3Aa+bird`);
  await visit.answer(() => page.reload());
  await page.waitForFunction(() => document.querySelectorAll("#hits img.is-there").length > 3);
  const sources = await page.locator("#hits img.is-there").evaluateAll((images) => images.map((image) => image.src));
  check(sources.every((source) => source.startsWith("blob:")), "thumbnails come with the key");
}
