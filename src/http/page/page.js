// The page: what the searcher does changes the state, the state makes a search, the answer is shown.

import * as api from "./api.js";
import { byId, counted, element, replace, shorten, write } from "./dom.js";
import { FacetList } from "./facets.js";
import { Paths, conditions, isChosen, toggle, told, withChosen } from "./filters.js";
import { Grid, nameOf, thumbnail } from "./grid.js";
import * as messages from "./messages.js";
import { Pictures, listen, refusal } from "./pictures.js";
import * as trail from "./trail.js";

const PAGE_SIZE = 24;
// How many of the nearest items are counted and grouped; the same for every page, so that one goes on where the other ends.
const CANDIDATES = 240;
const GROUP_CANDIDATES = 1000;
// Values of a path that are asked for where nothing is searched.
const VALUES = 24;

const pictures = new Pictures();
// Names and thumbnails of items that stand in the trail, by collection and id.
const known = new Map();
let state = trail.nothing();
let collections = [];
let described = null;
let shownFacets = [];
let countsAreOf = messages.COUNTS.none;
let running = null;

const paths = new Paths();
const facetList = new FacetList(byId("facets"), (path, value) => go({ ...state, chips: toggle(state.chips, path, value) }));

const grid = new Grid(byId("hits"), {
  choose: (hit) => remember(hit) && go(trail.take(state, { kind: "item", value: hit.id })),
  more: (hit) => remember(hit) && go(trail.take(state, { kind: "more", value: hit.id })),
  less: (hit) => remember(hit) && go(trail.take(state, { kind: "less", value: hit.id })),
  only(hit) {
    const isOn = isChosen(state.chips, state.group, hit.shared);
    go({ ...state, chips: isOn ? state.chips : toggle(state.chips, state.group, hit.shared), group: "" });
  },
  leave: () => byId("words").focus(),
});

const actions = {
  retry: () => load(),
  reload: () => load(),
  restart,
  back: () => step(-1),
  choose: () => byId("file").click(),
  clearFilters: () => go({ ...state, chips: [], where: "" }),
  ungroup: () => go({ ...state, group: "" }),
  enterKey(key) {
    api.setKey(key);
    load();
  },
};

const fieldNow = () => described?.fields?.find((field) => field.name === (state.field || described.default_field));
const takes = (kind) => fieldNow()?.takes.includes(kind) ?? false;
const keyOf = (id) => JSON.stringify([state.collection, id]);
const isItem = (step) => step.kind === "item" || step.kind === "more" || step.kind === "less";
const hitsOf = (answer) =>
  answer.groups.length > 0 ? answer.groups.flatMap(({ value, hits }) => hits.map((hit) => ({ ...hit, shared: value }))) : answer.hits;

function remember(item) {
  known.set(keyOf(item.id), { name: nameOf(item), thumbnail: item.thumbnail });
  return true;
}

// Another state, with its place in the browser's history.
function go(next) {
  state = next;
  history.pushState(null, "", `#${trail.toFragment(state)}`);
  update();
}

function step(by) {
  const at = Math.min(Math.max(state.at + by, 0), state.steps.length);
  if (at !== state.at) go({ ...state, at });
}

function restart() {
  byId("words").value = "";
  go({ ...state, steps: [], at: 0 });
  byId("words").focus();
}

function takePicture(file) {
  const wrong = refusal(file);
  if (wrong) {
    tell({ title: "This is not a picture to search by", text: wrong, actions: ["choose"] });
    return;
  }
  // A picture goes where pictures can be searched by.
  const field = takes("image") ? state.field : (described?.fields ?? []).find((one) => one.takes.includes("image"))?.name;
  if (field === undefined) {
    tell({ title: "No field here takes pictures", text: "Search in words, or choose another collection.", actions: ["back"] });
    return;
  }
  go(trail.take({ ...state, field }, { kind: "picture", value: pictures.add(file) }));
}

// --- from the state to an answer ---

// Reads the collections and the present one, then searches.
async function load() {
  byId("results").setAttribute("aria-busy", "true");
  try {
    collections = await api.listCollections();
    if (!collections.some((one) => one.name === state.collection || one.aliases.includes(state.collection))) {
      state = { ...state, collection: (collections.find((one) => one.items > 0) ?? collections[0])?.name ?? "", field: "" };
    }
    described = state.collection ? await api.describeCollection(state.collection) : null;
    await update(true);
  } catch (error) {
    fail(error);
  }
}

// Shows the state and searches; reads the collection first if it is another.
async function update(isFresh = false) {
  if (!isFresh && state.collection && described?.name !== state.collection && !described?.aliases.includes(state.collection)) {
    described = null;
    shownFacets = [];
    grid.clear();
    await load();
    return;
  }
  showPlaces();
  showWords();
  showQuery();
  const last = trail.current(state).at(-1);
  // What the browser's history lists.
  document.title = last ? `${shorten(labelOf(last), 60)} – Pictor` : "Pictor";
  await search();
}

async function search() {
  running?.abort();
  running = null;
  byId("more").hidden = true;
  write(byId("where-problem"), "");
  if (!state.collection) return idle(messages.NO_COLLECTIONS, "No collections");
  if (described.state === "broken") return idle(messages.brokenCollection(described.name, described.problem), "Broken");
  if (!fieldNow()) return idle({ title: "There is no such field", text: "Choose a field above." }, "No field");
  if (described.items === 0) return idle(messages.noItems(described.name), "Empty");
  const { said, files } = trail.question(state, pictures);
  if (!said) return begin();
  if ([...files.values()].includes(undefined)) return fail(new api.Problem({ status: 400, code: "PICTURE_FORGOTTEN" }));
  byId("notice").hidden = true;
  write(byId("status"), "Searching…");
  grid.wait();
  await ask(said, files, 0);
}

// Asks the server and shows the answer, unless something else was asked meanwhile.
async function newest(send, take) {
  const asked = new AbortController();
  running = asked;
  byId("results").setAttribute("aria-busy", "true");
  try {
    const answer = await send(asked.signal);
    if (running !== asked) return;
    running = null;
    byId("results").setAttribute("aria-busy", "false");
    take(answer);
  } catch (error) {
    if (running === asked && error.name !== "AbortError") fail(error);
    else if (!(error instanceof api.Problem) && error.name !== "AbortError") throw error;
  }
}

// While nothing is searched: what to do first, and the values that there are to filter by.
async function begin() {
  idle(messages.start(fieldNow()), `${counted(described.items, "item")} in ${described.name}`);
  const asked = paths.ofItems(described, state.chips);
  if (asked.length === 0) return;
  const filter = conditions(state.where, state.chips);
  const query = { paths: asked, ...(filter.length > 0 && { filter }), limit: VALUES };
  await newest(
    (signal) => api.countFacets(state.collection, query, signal),
    (answer) => {
      if (filter.length > 0) write(byId("status"), `${counted(answer.items, "item")} with this filter in ${described.name}`);
      // That payloads are read for the counts is the page's own choice.
      showWarnings(answer.warnings.filter((warning) => !warning.startsWith("facets:")));
      showCounts(told(answer.facets, answer.items), filter.length > 0 ? messages.COUNTS.ofPassing : messages.COUNTS.ofItems);
    },
  );
}

// Asks for hits after an offset and shows them.
async function ask(said, files, offset) {
  const collection = described;
  const filter = conditions(state.where, state.chips);
  const counts = () => ({ facets: paths.ofHits(collection, state.chips) });
  const query = {
    collection: state.collection,
    field: fieldNow().name,
    ...said,
    ...(filter.length > 0 && { filter }),
    limit: PAGE_SIZE,
    offset,
    select: { texts: true },
    candidates: state.group ? GROUP_CANDIDATES : CANDIDATES,
    ...(state.group && { group_by: { path: state.group } }),
    ...(offset === 0 && counts()),
  };
  const send = async (signal) => {
    const answer = await api.search(query, files, signal);
    const isNews = paths.learn(collection, hitsOf(answer), query.facets ?? []);
    if (offset > 0 || !isNews) return answer;
    // Only the first hits told what there is to count; they are asked for once more, with the counts.
    return api.search({ ...query, ...counts() }, files, signal);
  };
  await newest(send, (answer) => show(answer, offset));
}

function show(answer, offset) {
  const hits = hitsOf(answer);
  if (offset === 0) {
    grid.show(hits);
    showCounts(told(answer.facets), messages.COUNTS.ofHits);
  } else {
    grid.add(hits);
  }
  for (const hit of hits) remember(hit);
  const isFiltered = state.where.trim() !== "" || state.chips.length > 0;
  byId("notice").hidden = grid.hits.length > 0;
  if (grid.hits.length === 0) {
    messages.show(byId("notice"), state.group ? messages.noGroups(state.group, isFiltered) : messages.noHits(isFiltered), actions);
  }
  const milliseconds = Math.max(1, Math.round(answer.timings.total_us / 1000));
  const oneOfEach = state.group ? `, one of each ${state.group}` : "";
  write(byId("status"), `${counted(grid.hits.length, "hit")}${oneOfEach}${isFiltered ? " with this filter" : ""}`);
  const how = answer.composer && trail.current(state).length > 1 ? `, joined by ${answer.composer}` : "";
  write(byId("timing"), `${answer.field}, generation ${answer.generation}${how}, ${milliseconds} ms`);
  showWarnings(answer.warnings);
  byId("more").hidden = hits.length < PAGE_SIZE;
  showTrail();
}

// Says something in the place of hits.
function idle(message, status) {
  grid.clear();
  tell(message);
  write(byId("status"), status);
  write(byId("timing"), "");
  replace(byId("warnings"));
  showCounts([], messages.COUNTS.none);
  byId("results").setAttribute("aria-busy", "false");
}

function tell(message) {
  const others = (described?.fields ?? []).filter((field) => field !== fieldNow() && field.takes.includes("text") && field.takes.includes("image"));
  const switchField = others.length > 0 ? () => go({ ...state, field: others[0].name }) : null;
  messages.show(byId("notice"), message, { ...actions, switchField, back: state.at > 0 ? actions.back : null });
}

function fail(error) {
  if (!(error instanceof api.Problem)) throw error;
  running = null;
  byId("results").setAttribute("aria-busy", "false");
  // The hits from before stay: only the condition is wrong.
  if (error.field.startsWith("filter")) {
    write(byId("where-problem"), `${error.detail[0].toUpperCase()}${error.detail.slice(1)}.`);
    write(byId("status"), "The filter cannot be read");
    byId("hits").classList.remove("is-waiting");
    if (grid.hits.length === 0) {
      grid.clear();
      tell(messages.BAD_FILTER);
    }
    showCounts(shownFacets, countsAreOf);
    byId("filters").open = true;
    byId("where").focus();
    return;
  }
  if (error.status === 401) api.setKey("");
  const message = messages.ofProblem(error);
  idle(message, message.title);
  byId("key")?.focus();
}

// --- from the state to the page ---

function options(select, names, chosen, isEnabled) {
  replace(select, ...names.map((name) => element("option", { value: name, text: name, selected: name === chosen })));
  select.value = chosen;
  select.disabled = !isEnabled || names.length === 0;
}

function showPlaces() {
  options(byId("collection"), collections.map((one) => one.name), described?.name ?? "", true);
  const names = (described?.fields ?? []).map((field) => field.name);
  options(byId("field"), names, fieldNow()?.name ?? "", names.length > 1);
}

function labelOf(one) {
  if (one.kind === "picture") return pictures.get(one.value)?.name ?? "a picture of before";
  if (isItem(one)) return known.get(keyOf(one.value))?.name ?? one.value;
  return one.value;
}

function pictureOf(one) {
  if (one.kind === "picture") {
    const kept = pictures.get(one.value);
    return kept ? element("img", { class: "is-there", src: kept.url, alt: "" }) : null;
  }
  const path = known.get(keyOf(one.value))?.thumbnail;
  return path && one.kind !== "text" && one.kind !== "change" ? thumbnail(path, 128) : null;
}

// What stands in the boxes; only after the searcher has done something, so that nothing is overwritten while it is typed.
function showWords() {
  const [start] = trail.current(state);
  const byItem = !takes("text") && takes("item");
  const isShown = start?.kind === "text" || (byItem && start?.kind === "item");
  byId("words").value = isShown ? start.value : "";
  byId("words").placeholder = byItem ? "Search by an item’s id" : "Search in words";
  byId("where").value = state.where;
}

function showQuery() {
  const found = trail.reference(state);
  const canType = takes("text");
  const somewhere = (described?.fields ?? []).some((field) => field.takes.includes("image"));
  replace(byId("reference-picture"), found && (pictureOf(found) ?? element("span", { text: Array.from(labelOf(found))[0]?.toUpperCase() })));
  byId("reference").classList.toggle("is-set", Boolean(found));
  byId("reference").classList.toggle("takes-pictures", somewhere);
  write(byId("reference-label"), found ? shorten(labelOf(found), 80) : "None yet");
  const hints = {
    none: takes("image") || somewhere ? "Drop or paste a picture, or choose a hit." : "Choose a hit to search by it.",
    item: "A hit that you chose.",
    picture: "Your picture; it is not stored.",
  };
  write(byId("reference-hint"), hints[found?.kind ?? "none"]);
  byId("choose").disabled = !somewhere;
  byId("choose").hidden = described !== null && !somewhere;
  const canChange = Boolean(found) && canType;
  const change = byId("change-words");
  change.disabled = !canChange;
  byId("change-apply").disabled = !canChange;
  change.placeholder = canType || !described ? "but in red" : "this field takes no words";
  showTrail();
}

const VERBS = { text: "Words", item: "Like", picture: "Picture", change: "Change", more: "More like", less: "Less like" };

function showTrail() {
  const steps = state.steps.map((one, position) => {
    const at = position + 1;
    const name = labelOf(one);
    const button = element(
      "button",
      {
        type: "button",
        "aria-current": at === state.at ? "step" : null,
        class: at > state.at ? "is-ahead" : null,
        title: `${VERBS[one.kind]} ${name}`,
        on: { click: () => go({ ...state, at }) },
      },
      element("span", { class: "mark", "aria-hidden": "true" }, pictureOf(one)),
      element("span", { class: "what" }, element("span", { class: "verb", text: VERBS[one.kind] }), element("span", { class: "value", text: shorten(name, 60) })),
    );
    return element("li", { class: `step is-${one.kind}` }, button);
  });
  const list = byId("trail");
  replace(list, ...steps);
  const now = list.querySelector("[aria-current]");
  if (now) list.scrollLeft = now.offsetLeft - list.offsetLeft - (list.clientWidth - now.offsetWidth) / 2;
  byId("trail-empty").hidden = steps.length > 0;
  byId("back").disabled = state.at === 0;
  byId("forward").disabled = state.at === state.steps.length;
  byId("restart").disabled = state.steps.length === 0;
  learnNames();
}

// After a reload the trail knows ids only; their names and pictures are read once.
async function learnNames() {
  for (const one of state.steps) {
    const key = keyOf(one.value);
    if (!isItem(one) || known.has(key) || !state.collection) continue;
    known.set(key, { name: one.value });
    try {
      const item = await api.readItem(state.collection, one.value);
      known.set(key, { name: nameOf(item), thumbnail: item.thumbnails[0] });
      showQuery();
    } catch (error) {
      // The id stands there already, and the search says what is wrong.
      if (!(error instanceof api.Problem)) throw error;
    }
  }
}

// What was counted, and what the counts are of.
function showCounts(found, areOf) {
  shownFacets = withChosen(found, shownFacets, state.chips);
  countsAreOf = shownFacets.length === 0 && areOf === messages.COUNTS.ofHits ? messages.COUNTS.undivided : areOf;
  facetList.show(shownFacets, state.chips);
  write(byId("facets-of"), countsAreOf);
  const count = state.chips.length + (state.where.trim() ? 1 : 0);
  byId("filter-count").hidden = count === 0;
  write(byId("filter-count"), `${count} on`);
  showGroups();
}

// What hits may be grouped by.
function showGroups() {
  const known = described ? paths.ofHits(described, state.chips) : [];
  const all = [...new Set([...known, ...(state.group ? [state.group] : [])])].sort();
  const select = byId("group");
  const option = (value, text) => element("option", { value, text: shorten(text, 40), selected: value === state.group });
  replace(select, option("", "hit"), ...all.map((path) => option(path, path)));
  select.value = state.group;
  select.disabled = all.length === 0;
}

// What a search cost is said quietly; what it could not do stands out.
function showWarnings(warnings) {
  const isOfCost = (warning) => /^filter: \d+ payloads were read/.test(warning);
  replace(byId("warnings"), ...warnings.map((warning) => element("p", { class: isOfCost(warning) ? "is-quiet" : null, text: warning })));
}

// --- from the searcher to the state ---

function onSubmit(id, handle) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    handle();
  });
}

onSubmit("search", () => {
  const words = byId("words").value.trim();
  if (!words) return restart();
  const kind = takes("text") || !takes("item") ? "text" : "item";
  go(trail.take(state, { kind, value: words }));
});

onSubmit("change", () => {
  const words = byId("change-words").value.trim();
  if (!words) return;
  byId("change-words").value = "";
  go(trail.take(state, { kind: "change", value: words }));
});

onSubmit("filter", () => go({ ...state, where: byId("where").value.trim() }));

byId("collection").addEventListener("change", (event) => go({ ...trail.nothing(), collection: event.target.value }));
byId("field").addEventListener("change", (event) => go({ ...state, field: event.target.value }));
byId("group").addEventListener("change", (event) => go({ ...state, group: event.target.value }));
byId("back").addEventListener("click", () => step(-1));
byId("forward").addEventListener("click", () => step(1));
byId("restart").addEventListener("click", restart);
byId("more").addEventListener("click", () => {
  const { said, files } = trail.question(state, pictures);
  byId("more").hidden = true;
  ask(said, files, grid.hits.length);
});

byId("reference-picture").addEventListener("click", () => byId("choose").disabled || byId("file").click());
// Where the hits stand below, the filters are folded away until they are wanted.
if (window.matchMedia("(max-width: 900px)").matches) byId("filters").open = false;

listen({
  input: byId("file"),
  button: byId("choose"),
  take: takePicture,
  mark: (isOver) => {
    byId("drop").hidden = !isOver;
  },
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const isTyping = event.target.matches("input, select, textarea");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    byId("words").focus();
    byId("words").select();
  } else if (event.key === "Escape") {
    // Out of a box step by step: its words, the box, and only then the search.
    if (isTyping && event.target.value && event.target.matches("input")) event.target.value = "";
    else if (isTyping && event.target.id !== "words") event.target.blur();
    else if (state.steps.length > 0) restart();
  } else if (event.key === "ArrowDown" && event.target.id === "words" && grid.hits.length > 0) {
    event.preventDefault();
    grid.focusFirst();
  }
});

window.addEventListener("popstate", () => {
  state = { ...trail.nothing(), ...trail.fromFragment(location.hash) };
  if (!state.collection && described) state.collection = described.name;
  update();
});

state = trail.fromFragment(location.hash);
load();
