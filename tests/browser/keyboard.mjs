// Everything with the keyboard, and the focus seen at every stop.

import { check, same } from "./check.mjs";

export async function keyboardOnly(visit) {
  const { page } = visit;
  const press = (key) => page.keyboard.press(key);
  const focused = () =>
    page.evaluate(() => {
      const active = document.activeElement;
      const style = getComputedStyle(active);
      return { id: active.id, class: active.className, name: active.innerText, isSeen: style.outlineStyle !== "none" && style.outlineWidth !== "0px" };
    });
  await visit.open();
  await press("/");
  same((await focused()).id, "words", "a slash focuses the search");
  await page.keyboard.type("a dog");
  await visit.answer(() => press("Enter"));
  const names = await visit.names();
  await press("ArrowDown");
  let now = await focused();
  check(now.class === "choose" && now.name.startsWith(names[0]) && now.isSeen, "down goes to the first hit");
  await press("ArrowRight");
  now = await focused();
  check(now.name.startsWith(names[1]) && now.isSeen, "right goes to the second");
  await press("ArrowDown");
  await press("ArrowUp");
  check((await focused()).name.startsWith(names[1]), "down and up lead back");
  await press("End");
  check((await focused()).name.startsWith(names.at(-1)), "the last");
  await press("Home");
  check((await focused()).name.startsWith(names[0]), "the first");
  await visit.answer(() => press("Enter"));
  same((await visit.steps()).length, 2, "Enter makes the reference");
  check(!(await visit.names()).includes(names[0]), "which is left out");

  // From the search to the change: only with Tab.
  await press("/");
  for (let stops = 0; (await focused()).id !== "change-words"; stops++) {
    check(stops < 12, "Tab does not reach the change");
    await press("Tab");
    check((await focused()).isSeen, `the focus is not seen at ${JSON.stringify(await focused())}`);
  }
  await page.keyboard.type("with a red nose");
  await visit.answer(() => press("Enter"));
  same((await visit.steps()).at(-1), "with a red nose", "a change by keyboard");

  // Less like this, from the hit itself.
  await press("Escape");
  await press("/");
  await press("ArrowDown");
  const shunned = (await visit.names())[0];
  await visit.answer(() => press("-"));
  check(!(await visit.names()).includes(shunned), "minus leaves a hit out");

  // More like this, in the same way.
  await press("/");
  await press("ArrowDown");
  const wanted = (await visit.names())[0];
  await visit.answer(() => press("+"));
  check(!(await visit.names()).includes(wanted), "plus makes a hit an example, which is left out");

  // A chip can be pressed twice without losing the place.
  await page.locator(".chip").first().focus();
  await visit.answer(() => press("Enter"));
  check((await focused()).class === "chip", "the chip keeps the focus");
  await visit.answer(() => press("Enter"));

  // Escape: out of the hits, then out of the words, then out of the search.
  await press("/");
  await press("ArrowDown");
  await press("Escape");
  same((await focused()).id, "words", "Escape leaves the hits");
  await page.keyboard.type("x");
  await press("Escape");
  same(await page.locator("#words").inputValue(), "", "Escape clears the words");
  await press("Escape");
  await visit.settled();
  same((await visit.steps()).length, 0, "Escape clears the search");
  check((await visit.text("#notice")).includes("What are you looking for?"), "and says what to do");
}
