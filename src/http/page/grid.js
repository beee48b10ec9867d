// The hits as cards: one stop of the Tab key, arrows move inside.

import { showThumbnail } from "./api.js";
import { element, replace, shorten } from "./dom.js";
import { isScalar, written } from "./filters.js";

const THUMBNAIL = 256;
// Pictures with fewer pixels than this are not blown up to a whole card.
const SMALL = 100;
const NAME_KEYS = ["title", "name", "label", "caption"];

const firstText = (texts, name) => (Object.hasOwn(texts ?? {}, name) ? texts[name][0] : undefined);

// What an item is called: by its payload, by its texts, else by its id.
export function nameOf(item) {
  const payload = item.payload ?? {};
  for (const key of NAME_KEYS) {
    if (Object.hasOwn(payload, key) && typeof payload[key] === "string" && payload[key]) return payload[key];
    const text = firstText(item.texts, key);
    if (text) return text;
  }
  const first = Object.values(item.texts ?? {})[0]?.[0];
  return first ? shorten(first, 160) : item.id;
}

// The text that matched, if it is not the name already.
function matchedText(hit) {
  if (hit.part.kind !== "text" || !Object.hasOwn(hit.texts ?? {}, hit.part.name)) return null;
  const text = hit.texts[hit.part.name][hit.part.index];
  return text && text !== nameOf(hit) ? shorten(text, 120) : null;
}

// A picture that says nothing if it fails: the name stands beside it.
export function thumbnail(path, size = THUMBNAIL) {
  const image = element("img", { alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("load", () => {
    image.classList.add("is-there");
    if (Math.max(image.naturalWidth, image.naturalHeight) < SMALL) image.classList.add("is-small");
  });
  image.addEventListener("error", () => image.classList.add("is-missing"));
  showThumbnail(image, path, size);
  return image;
}

// The value that a hit stands for, if hits are grouped; pressing it leaves only its like.
function shared(hit, tabindex, only) {
  if (hit.shared === undefined) return null;
  const text = written(hit.shared);
  if (!isScalar(hit.shared)) return element("span", { class: "shared", text });
  return element("button", { type: "button", class: "shared", tabindex, text, "aria-label": `Only ${text}`, on: { click: () => only(hit) } });
}

// A button of a card that moves the search towards its hit or away from it.
function nudge(what, name, attributes) {
  return element("button", { type: "button", text: what, title: `${what} like this`, "aria-label": `${what} like this: ${name}`, ...attributes });
}

function card(hit, position, { choose, more, less, only }) {
  const name = nameOf(hit);
  const matched = matchedText(hit);
  const picture = hit.thumbnail && element("span", { class: "picture", "aria-hidden": "true" }, thumbnail(hit.thumbnail));
  const tabindex = position === 0 ? 0 : -1;
  const main = element(
    "button",
    { type: "button", class: "choose", tabindex, "data-hit": "", title: `Search by ${name}`, on: { click: () => choose(hit) } },
    picture,
    element("span", { class: "name", text: name }),
    matched && element("span", { class: "matched", text: matched }),
  );
  const score = element("span", { class: "score", text: hit.score.toFixed(2), title: `score ${hit.score}` });
  const foot = element(
    "div",
    { class: "foot" },
    score,
    nudge("More", name, { class: "like", tabindex, on: { click: () => more(hit) } }),
    nudge("Less", name, { class: "less", tabindex, on: { click: () => less(hit) } }),
  );
  return element("li", { class: hit.thumbnail ? "card" : "card is-text" }, shared(hit, tabindex, only), main, foot);
}

export class Grid {
  #list;
  #actions;
  #hits = [];

  // `choose`, `more`, `less` and `only` are called with a hit, `leave` when the keyboard leaves the hits.
  constructor(list, actions) {
    this.#list = list;
    this.#actions = actions;
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("focusin", (event) => this.#rove(event.target.closest(".card")));
  }

  get hits() {
    return this.#hits;
  }

  show(hits) {
    this.#hits = hits;
    this.#list.classList.remove("is-waiting");
    replace(this.#list, ...hits.map((hit, position) => card(hit, position, this.#actions)));
  }

  add(hits) {
    const first = this.#hits.length;
    this.#hits = [...this.#hits, ...hits];
    this.#list.append(...hits.map((hit, position) => card(hit, first + position, this.#actions)));
    this.#list.children[first]?.querySelector(".choose").focus();
  }

  // Keeps what is there, dimmed; places for hits where there is nothing.
  wait() {
    this.#list.classList.add("is-waiting");
    if (this.#hits.length > 0) return;
    const empty = () =>
      element("li", { class: "card skeleton", "aria-hidden": "true" }, element("span", { class: "picture" }), element("span", { class: "line" }));
    replace(this.#list, ...Array.from({ length: 12 }, empty));
  }

  clear() {
    this.show([]);
  }

  focusFirst() {
    this.#list.querySelector(".choose")?.focus();
  }

  #rove(active) {
    if (!active) return;
    for (const one of this.#list.children) {
      for (const button of one.querySelectorAll("button")) button.tabIndex = one === active ? 0 : -1;
    }
  }

  #columns() {
    return getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
  }

  #key(event) {
    const active = event.target.closest(".card");
    if (!active || event.ctrlKey || event.metaKey || event.altKey) return;
    const cards = [...this.#list.children];
    const position = cards.indexOf(active);
    const last = cards.length - 1;
    const moves = {
      ArrowRight: position + 1,
      ArrowLeft: position - 1,
      ArrowDown: position + this.#columns(),
      ArrowUp: position - this.#columns(),
      Home: 0,
      End: last,
    };
    if (event.key in moves) {
      event.preventDefault();
      if (moves[event.key] < 0 && event.key === "ArrowUp") this.#actions.leave();
      else cards[Math.min(Math.max(moves[event.key], 0), last)].querySelector(".choose").focus();
    } else if (event.key === "+") {
      event.preventDefault();
      this.#actions.more(this.#hits[position]);
    } else if (event.key === "-" || event.key === "Delete") {
      event.preventDefault();
      this.#actions.less(this.#hits[position]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.#actions.leave();
    }
  }
}
