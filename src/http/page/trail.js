// What is searched: a trail of steps, of which the first `at` count, with a place and filters. All of it stands in the address,
// except the pictures themselves.

// Steps and the letter that each has in the address. The first three start anew, the others change what came before.
const LETTERS = { text: "t", item: "i", picture: "p", change: "c", more: "m", less: "l" };
const KINDS = Object.fromEntries(Object.entries(LETTERS).map(([kind, letter]) => [letter, kind]));
const isStart = (step) => step.kind === "text" || step.kind === "item" || step.kind === "picture";
const isExample = (step) => step.kind === "item" || step.kind === "more" || step.kind === "less";

// How far a hit that is liked less pushes the query away; a whole part would push it out of the neighbourhood.
const LESS = -0.5;

export const nothing = () => ({ collection: "", field: "", steps: [], at: 0, chips: [], where: "", group: "" });

// The steps that count now: the last start and what changed it.
export function current(state) {
  const taken = state.steps.slice(0, state.at);
  const start = taken.findLastIndex(isStart);
  return start < 0 ? [] : taken.slice(start);
}

// The start of the present query, if it is a picture or an item.
export function reference(state) {
  const [start] = current(state);
  return start && start.kind !== "text" ? start : null;
}

// Another trail with one more step; steps that were taken back are gone.
export function take(state, step) {
  const before = state.steps.slice(0, state.at);
  // Words and pictures of the searcher's begin a new trail; a hit goes on with the one that found it.
  const steps = step.kind === "text" || step.kind === "picture" ? [step] : [...before, step];
  return { ...state, steps, at: steps.length };
}

// What the query says, or null if nothing, and the pictures that it names.
export function question(state, pictures) {
  const files = new Map();
  const steps = current(state);
  if (steps.length === 0) return { said: null, files };
  // Several hits are examples, none of which counts more than its like.
  if (steps.length > 1 && steps.every(isExample)) {
    const ids = (isWanted) => steps.filter((step) => (step.kind !== "less") === isWanted).map((step) => step.value);
    return { said: { recommend: { positive: ids(true), negative: ids(false) } }, files };
  }
  const parts = steps.map((step) => {
    switch (step.kind) {
      case "item":
      case "more":
        return { item: step.value };
      case "picture":
        files.set("picture", pictures.get(step.value)?.file);
        return { image: "file:picture" };
      case "less":
        return { item: step.value, weight: LESS };
      default:
        return { text: step.value };
    }
  });
  return { said: { parts }, files };
}

// The address's fragment.
export function toFragment(state) {
  const fragment = new URLSearchParams();
  if (state.collection) fragment.append("collection", state.collection);
  if (state.field) fragment.append("field", state.field);
  for (const step of state.steps) fragment.append("step", `${LETTERS[step.kind]}:${step.value}`);
  if (state.at !== state.steps.length) fragment.append("at", state.at);
  for (const [path, value] of state.chips) fragment.append("chip", JSON.stringify([path, value]));
  if (state.where) fragment.append("where", state.where);
  if (state.group) fragment.append("group", state.group);
  return fragment.toString();
}

// Reads a fragment; what makes no sense is left out.
export function fromFragment(text) {
  const fragment = new URLSearchParams(text.replace(/^#/, ""));
  const read = (written) => ({ kind: KINDS[written.slice(0, 1)], value: written.slice(2) });
  const steps = fragment.getAll("step").map(read).filter((step) => step.kind && step.value);
  const at = Number.parseInt(fragment.get("at") ?? "", 10);
  const chips = fragment.getAll("chip").flatMap((written) => {
    try {
      const chip = JSON.parse(written);
      return Array.isArray(chip) && chip.length === 2 && typeof chip[0] === "string" ? [chip] : [];
    } catch {
      return [];
    }
  });
  return {
    collection: fragment.get("collection") ?? "",
    field: fragment.get("field") ?? "",
    steps,
    at: Number.isNaN(at) ? steps.length : Math.min(Math.max(at, 0), steps.length),
    chips,
    where: fragment.get("where") ?? "",
    group: fragment.get("group") ?? "",
  };
}
