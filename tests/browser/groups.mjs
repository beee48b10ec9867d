// Counts beside the hits, one hit of each kind, and several hits as examples.

import { check, same } from "./check.mjs";

const isSearch = (request) => new URL(request.url()).pathname === "/v1/search";

// Does something that counts all items, and gives the answer.
async function counts(visit, act) {
  const [response] = await Promise.all([visit.page.waitForResponse((response) => new URL(response.url()).pathname.endsWith("/facets")), act()]);
  await visit.settled();
  return response.json();
}

export async function countsAndGroups(visit) {
  const { page } = visit;
  const chipsOf = (path) => page.locator(`.facet[aria-label="${path}"] .chip`);
  const shownCounts = (path) => chipsOf(path).locator(".count").allInnerTexts();
  const written = (values) => values.map(({ count }) => count.toLocaleString("en"));
  // What the server says of a path, without values that no button has room for.
  const told = (facets, path) => facets.find((facet) => facet.path === path).values.filter(({ value }) => value.length <= 40);

  // An indexed path is counted before anything is searched.
  let counted = await counts(visit, () => visit.open());
  same(await visit.text("#facets-of"), "Counts of all items.", "what the counts are of");
  same(await shownCounts("group"), written(told(counted.facets, "group")), "the counts are the server's");
  await visit.accessible("counts of all items");
  counted = await counts(visit, () => chipsOf("group").first().click());
  same(await visit.text("#status"), `${counted.items.toLocaleString("en")} items with this filter in emoji`, "how many items pass");
  same(await chipsOf("group").first().getAttribute("aria-pressed"), "true", "the value is pressed");
  await counts(visit, () => chipsOf("group").first().click());

  // With hits: counts of the nearest, also at paths that only hits tell of.
  await page.locator("#words").fill("a wild animal");
  await visit.answer(() => page.locator("#search button").click());
  check((await chipsOf("subgroup").count()) > 1, "the first hits tell of their subgroups");
  same(await visit.text("#facets-of"), "Counts among the nearest items.", "what the counts are of");
  await page.locator("#words").fill("something to eat");
  let answer = await visit.answer(() => page.locator("#search button").click());
  const shown = await shownCounts("subgroup");
  same(shown, written(told(answer.facets, "subgroup")).slice(0, shown.length), "the counts are the server's");
  const rest = page.locator('.facet[aria-label="subgroup"] .rest');
  if ((await rest.count()) > 0) {
    await rest.click();
    check((await chipsOf("subgroup").count()) > shown.length, "the rest of the values is shown");
    same(await page.evaluate(() => document.activeElement.className), "chip", "and the focus goes on with them");
  }

  // One of each.
  answer = await visit.answer(() => page.locator("#group").selectOption("subgroup"));
  same(answer.hits, [], "hits stand in their groups");
  const values = answer.groups.map(({ value }) => value);
  same(new Set(values).size, values.length, "each value comes once");
  same(await page.locator("#hits .shared").allInnerTexts(), values, "each card says what it stands for");
  check((await visit.text("#status")).includes("one of each subgroup"), `the status says it: ${await visit.text("#status")}`);
  await visit.accessible("one of each");
  const grouped = await visit.names();
  await visit.answer(() => page.reload());
  same(await visit.names(), grouped, "the address says how hits are grouped");
  answer = await visit.answer(() => page.locator("#hits .shared").nth(1).click());
  check(answer.hits.length > 0 && answer.hits.every((hit) => hit.payload.subgroup === values[1]), "a group's value leaves only its like");
  same(await page.locator("#group").inputValue(), "", "which stand alone again");
  await visit.answer(() => page.locator("#group").selectOption("group"));
  await page.locator("#where").fill('group = "nowhere"');
  await visit.answer(() => page.locator("#filter button").click());
  check((await visit.text("#notice")).includes("No groups"), "no groups say why");
  await visit.accessible("no groups");
  await visit.answer(() => page.getByRole("button", { name: "Show every hit" }).click());
  await visit.answer(() => page.getByRole("button", { name: "Clear the filters" }).click());

  // Several hits as examples: what is sought by them is near to all of them, and none of them is found again.
  await visit.answer(() => page.locator("#hits .choose").first().click());
  const nudge = async (which) => {
    const [request] = await Promise.all([page.waitForRequest(isSearch), page.locator(`#hits .${which}`).first().click()]);
    await visit.settled();
    return request.postDataJSON();
  };
  const wanted = (await visit.names())[0];
  let query = await nudge("like");
  same([query.recommend.positive.length, query.recommend.negative, query.parts], [2, [], undefined], "two examples");
  check(!(await visit.names()).includes(wanted), "an example is left out");
  query = await nudge("less");
  same([query.recommend.positive.length, query.recommend.negative.length], [2, 1], "and one to keep away from");
  same((await visit.steps()).length, 4, "each is a step");
  await visit.accessible("hits of examples");
}
