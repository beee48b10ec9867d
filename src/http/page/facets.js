// The values that the server counted, as buttons that filter.

import { element, replace, shorten } from "./dom.js";
import { isChosen } from "./filters.js";

// Values of one path that stand there before the rest is asked for.
const FIRST = 7;

export class FacetList {
  #node;
  #press;
  #open = new Set();

  // `press` is called with a path and one of its values.
  constructor(node, press) {
    this.#node = node;
    this.#press = press;
  }

  show(facets, chips) {
    const focused = document.activeElement?.dataset?.chip;
    replace(this.#node, ...facets.map((facet) => this.#group(facet, facets, chips)));
    if (!focused) return;
    // The chip that was pressed is another node now, or gone.
    const all = [...this.#node.querySelectorAll("[data-chip]")];
    (all.find((chip) => chip.dataset.chip === focused) ?? all[0])?.focus();
  }

  #group(facet, facets, chips) {
    const { path, values } = facet;
    const isOn = ([value]) => isChosen(chips, path, value);
    const shown = this.#open.has(path) ? values : values.filter((entry, position) => position < FIRST || isOn(entry));
    const left = values.length - shown.length;
    const open = () => {
      this.#open.add(path);
      this.show(facets, chips);
      const first = values.find((entry) => !shown.includes(entry));
      const written = JSON.stringify([path, first[0]]);
      [...this.#node.querySelectorAll("[data-chip]")].find((chip) => chip.dataset.chip === written)?.focus();
    };
    const more = { type: "button", class: "plain rest", text: `${left} more`, "aria-label": `${left} more values of ${path}`, on: { click: open } };
    return element(
      "div",
      { class: "facet", role: "group", "aria-label": path },
      element("span", { class: "path", text: path }),
      ...shown.map((entry) => this.#chip(path, entry, isOn(entry))),
      left > 0 ? element("button", more) : null,
    );
  }

  #chip(path, [value, count], isOn) {
    return element(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": String(isOn),
        "data-chip": JSON.stringify([path, value]),
        on: { click: () => this.#press(path, value) },
      },
      element("span", { text: shorten(String(value), 28) }),
      count > 0 ? element("span", { class: "count", text: count.toLocaleString("en") }) : null,
    );
  }
}
