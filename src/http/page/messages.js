// What is said when there is nothing to show, and what can be done about it.

import { element, replace } from "./dom.js";

// Each message has a title, a text, and actions by the names of what the page offers.
const REFUSALS = {
  UNREACHABLE: () => ({
    title: "The server does not answer",
    text: "It may be stopped or starting. What you searched for is kept.",
    actions: ["retry"],
  }),
  API_KEY_MISSING: () => ({ title: "This server asks for a key", text: "Enter an API key of scope read. It is kept until you close this tab.", form: true }),
  API_KEY_UNKNOWN: () => ({ title: "The server does not know this key", text: "Check it for missing characters and enter it again.", form: true }),
  FIELD_CANNOT_ANSWER: (problem) => ({ title: "This field cannot answer that", text: problem.detail, actions: ["switchField", "back"] }),
  FIELD_IS_BUILDING: (problem) => ({ title: "This field is still being filled", text: problem.detail, actions: ["retry"] }),
  ITEM_WITHOUT_VECTOR: (problem) => ({ title: "This item cannot be searched by here", text: `${problem.detail}. Choose another hit, or another field.`, actions: ["back"] }),
  OVERLOADED: () => ({ title: "The server is busy", text: "It has more searches waiting than it can take. Try again in a moment.", actions: ["retry"] }),
  UNAVAILABLE: (problem) => ({ title: "Not ready yet", text: problem.detail, actions: ["retry"] }),
  DEADLINE_EXCEEDED: () => ({ title: "This took too long", text: "The server did not finish in time.", actions: ["retry"] }),
  FOREIGN_HOST: (problem) => ({ title: "The server is called by another name", text: problem.detail }),
  PICTURE_FORGOTTEN: () => ({ title: "The picture is not kept", text: "Pictures stay in this tab's memory and are gone after a reload. Choose it again.", actions: ["choose", "restart"] }),
};

function ofPicture(problem) {
  return {
    title: "This picture cannot be read",
    text: `${problem.detail}. Try another file, or save it as PNG or JPEG.`,
    actions: ["choose", "back"],
  };
}

// The message of a refusal.
export function ofProblem(problem) {
  if (REFUSALS[problem.code]) return REFUSALS[problem.code](problem);
  if (/^parts\[\d+\]\.(media|image)/.test(problem.field)) return ofPicture(problem);
  if (problem.field.startsWith("group_by")) {
    return { title: "Hits cannot be grouped by that", text: `${problem.detail}. Choose another value, or show every hit.`, actions: ["ungroup"] };
  }
  if (problem.status === 404) return { title: "It is not there any more", text: problem.detail, actions: ["reload", "restart"] };
  if (problem.status === 413) return { title: "This is too large", text: problem.detail, actions: ["choose", "back"] };
  if (problem.status >= 500) return { title: "The server failed at this", text: problem.detail, actions: ["retry"] };
  return { title: "The server refused this search", text: problem.detail, actions: ["back"] };
}

export const NO_COLLECTIONS = {
  title: "No collections yet",
  text: "Store something first, then look again:",
  code: "pictor collection create notes --text-field text=all-minilm-l6-v2\npictor ingest notes examples/notes.jsonl",
  actions: ["reload"],
};

export const noItems = (name) => ({
  title: `“${name}” is empty`,
  text: "Store items in it, then look again:",
  code: `pictor ingest ${name} FOLDER`,
  actions: ["reload"],
});

export const brokenCollection = (name, problem) => ({
  title: `“${name}” cannot be opened`,
  text: `${problem}. Other collections are served.`,
  actions: ["reload"],
});

export const BAD_FILTER = {
  title: "The filter cannot be read",
  text: "What was expected stands beside the expression.",
  actions: ["clearFilters"],
};

export const noHits = (isFiltered) => ({
  title: "No hits",
  text: isFiltered ? "Nothing passes the filter." : "Nothing is stored in this field.",
  actions: isFiltered ? ["clearFilters"] : ["reload"],
});

export const noGroups = (path, isFiltered) => ({
  title: "No groups",
  text: `No hit${isFiltered ? " that passes the filter" : ""} has a value at ${path}.`,
  actions: ["ungroup", ...(isFiltered ? ["clearFilters"] : [])],
});

// What the counts beside the hits are of, or why there are none.
export const COUNTS = {
  none: "Values to filter by stand here once something is found; those of payload paths with an index at once.",
  ofItems: "Counts of all items.",
  ofPassing: "Counts of the items that pass.",
  ofHits: "Counts among the nearest items.",
  undivided: "The hits share no values to filter by.",
};

// What to do first, by what the field takes.
export function start(field) {
  if (field.problem) return { title: "This field cannot be searched yet", text: field.problem, actions: ["reload"] };
  const takes = (kind) => field.takes.includes(kind);
  if (takes("text") && takes("image")) {
    return { title: "What are you looking for?", text: "Say it in words, or drop a picture. Then choose a hit and say what should be different." };
  }
  if (takes("text")) return { title: "What are you looking for?", text: "Say it in words. Then choose a hit to see more like it, and say what should be different." };
  if (takes("image")) return { title: "Drop a picture", text: "This field finds pictures that look alike." };
  return { title: "Search by an item", text: "This field holds vectors of your own. Type an item's id to see what is near it." };
}

const LABELS = {
  retry: "Try again",
  reload: "Look again",
  restart: "Start over",
  back: "Step back",
  choose: "Choose a picture",
  clearFilters: "Clear the filters",
  ungroup: "Show every hit",
  switchField: "Search another field",
};

// Shows a message; `actions` are the page's, and one that it lacks now has no button.
export function show(node, message, actions) {
  const buttons = (message.actions ?? [])
    .filter((name) => actions[name])
    .map((name, position) =>
      element("button", { type: "button", class: position === 0 ? "primary" : null, text: LABELS[name], on: { click: actions[name] } }),
    );
  replace(
    node,
    element("h3", { text: message.title }),
    message.text && element("p", { text: message.text }),
    message.code && element("pre", { tabindex: 0 }, element("code", { text: message.code })),
    message.form && keyForm(actions.enterKey),
    buttons.length > 0 ? element("div", { class: "row" }, ...buttons) : null,
  );
  node.hidden = false;
}

function keyForm(enterKey) {
  const input = element("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    enterKey(input.value.trim());
  };
  return element(
    "form",
    { class: "key", on: { submit } },
    element("label", { for: "key", text: "API key" }),
    element("div", { class: "row" }, input, element("button", { type: "submit", class: "primary", text: "Use it" })),
  );
}
