// Filters of payloads: which paths are counted, which values are offered, and the conditions that chosen ones make (docs/filters.md).

const KEYWORDS = new Set(["and", "or", "not", "in", "exists", "true", "false"]);
const MAX_ASKED = 16;
const MAX_PATHS = 6;
const MAX_VALUES = 24;
const MAX_LENGTH = 40;
// Items whose payloads may all be read for a count that no index answers.
const READ_ALL = 50_000;

export const isScalar = (value) => ["string", "number", "boolean"].includes(typeof value);
// What a button has room for.
const isShort = (value) => isScalar(value) && value !== "" && String(value).length <= MAX_LENGTH;

// A value as it is written for people.
export const written = (value) => (value && typeof value === "object" && "$timestamp" in value ? value.$timestamp : String(value));

// Scalars of a payload by their paths; of a list each element.
function* scalars(payload, prefix = "", depth = 0) {
  for (const [key, value] of Object.entries(payload ?? {})) {
    const word = /^[\p{Alphabetic}_][\p{Alphabetic}\p{N}_-]*$/u.test(key) && !KEYWORDS.has(key) ? key : JSON.stringify(key);
    const path = prefix ? `${prefix}.${word}` : word;
    if (isScalar(value)) yield [path, value];
    else if (Array.isArray(value)) for (const element of value) if (isScalar(element)) yield [path, element];
    if (value && typeof value === "object" && !Array.isArray(value) && !("$timestamp" in value) && depth < 2) {
      yield* scalars(value, path, depth + 1);
    }
  }
}

// Paths whose values may divide what is found, as far as these hits show.
function telling(hits) {
  const paths = new Map();
  for (const hit of hits) {
    for (const [path, value] of new Map([...scalars(hit.payload)].map((pair) => [JSON.stringify(pair), pair])).values()) {
      if (!isShort(value)) continue;
      if (!paths.has(path)) paths.set(path, { values: new Set(), total: 0 });
      paths.get(path).values.add(value);
      paths.get(path).total += 1;
    }
  }
  // A value that nearly each hit has alone, like a name or a price, divides nothing.
  return [...paths].filter(([, { values, total }]) => values.size <= 0.6 * total).map(([path]) => path);
}

// The payload paths that the server is asked to count: those with an index, those that hits had, those that are filtered.
export class Paths {
  #learned = new Map();

  // Takes note of what hits have; true if they are the collection's first and have more than what was asked for.
  learn(collection, hits, asked) {
    if (hits.length === 0) return false;
    const isFirst = !this.#learned.has(collection.name);
    const known = this.#learned.get(collection.name) ?? new Set();
    for (const path of telling(hits)) known.add(path);
    this.#learned.set(collection.name, known);
    return isFirst && [...known].some((path) => !asked.includes(path));
  }

  #indexed(collection) {
    const indexes = (collection.payload_indexes ?? []).filter(({ ready, kind }) => ready && kind !== "prefix" && kind !== "time");
    return indexes.map(({ path }) => path);
  }

  // Those to count among hits, and to group them by.
  ofHits(collection, chips) {
    const learned = this.#learned.get(collection.name) ?? [];
    return [...new Set([...this.#indexed(collection), ...chips.map(([path]) => path), ...learned])].slice(0, MAX_ASKED);
  }

  // Those to count among all items, which may be many.
  ofItems(collection, chips) {
    return collection.items <= READ_ALL ? this.ofHits(collection, chips) : [...new Set(this.#indexed(collection))].slice(0, MAX_ASKED);
  }
}

// What of the server's counts is worth showing: [{path, values: [[value, count], …]}], the most telling first. `items` were counted, if
// that is known; without it every value is listed.
export function told(counted, items) {
  const found = [];
  for (const { path, distinct, values } of counted) {
    const total = items ?? values.reduce((sum, { count }) => sum + count, 0);
    const short = values.filter(({ value }) => isShort(value)).map(({ value, count }) => [value, count]);
    if (short.length < 2 || distinct > 0.6 * total) continue;
    found.push({ path, distinct, values: short.slice(0, MAX_VALUES) });
  }
  return found.sort((a, b) => a.distinct - b.distinct).slice(0, MAX_PATHS);
}

// The facets to show: what was counted, and for a path that is filtered already what stood there before.
export function withChosen(found, earlier, chips) {
  const shown = new Map(found.map((facet) => [facet.path, facet]));
  for (const path of new Set(chips.map(([path]) => path))) {
    const before = earlier.find((facet) => facet.path === path) ?? shown.get(path) ?? { path, distinct: 0, values: [] };
    const chosen = chips.filter((chip) => chip[0] === path).map(([, value]) => value);
    const missing = chosen.filter((value) => !before.values.some(([known]) => known === value));
    shown.set(path, { ...before, values: [...before.values, ...missing.map((value) => [value, 0])] });
  }
  return [...shown.values()];
}

export const isChosen = (chips, path, value) => chips.some((chip) => chip[0] === path && chip[1] === value);

export function toggle(chips, path, value) {
  if (isChosen(chips, path, value)) return chips.filter((chip) => !(chip[0] === path && chip[1] === value));
  return [...chips, [path, value]];
}

// The conditions that have to hold: the expression first, so that its errors are `filter[0]`; then one for each path.
export function conditions(where, chips) {
  const literal = (value) => JSON.stringify(value);
  const paths = [...new Set(chips.map(([path]) => path))];
  const ofPath = (path) => {
    const values = chips.filter((chip) => chip[0] === path).map(([, value]) => literal(value));
    return values.length === 1 ? `${path} = ${values[0]}` : `${path} in [${values.join(", ")}]`;
  };
  return [...(where.trim() ? [where] : []), ...paths.map(ofPath)];
}
