// Filters of the hits' payloads: which values are offered, and the conditions that chosen ones make (docs/filters.md).

const KEYWORDS = new Set(["and", "or", "not", "in", "exists", "true", "false"]);
const MAX_PATHS = 4;
const MAX_VALUES = 7;
const MAX_DISTINCT = 24;
const MAX_LENGTH = 40;

const isScalar = (value) => ["string", "number", "boolean"].includes(typeof value);

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

// What filtering by would divide these hits: [{path, values: [[value, count], …]}], the most telling first.
export function facets(hits) {
  const paths = new Map();
  for (const hit of hits) {
    for (const [path, value] of new Map([...scalars(hit.payload)].map((pair) => [JSON.stringify(pair), pair])).values()) {
      if (typeof value === "string" && (value.length > MAX_LENGTH || value === "")) continue;
      if (!paths.has(path)) paths.set(path, new Map());
      paths.get(path).set(value, (paths.get(path).get(value) ?? 0) + 1);
    }
  }
  const found = [];
  for (const [path, counts] of paths) {
    const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
    // A value that nearly each hit has alone, like a name or a price, divides nothing.
    if (counts.size < 2 || counts.size > MAX_DISTINCT || counts.size > 0.6 * total) continue;
    const values = [...counts].sort((a, b) => b[1] - a[1] || String(a[0]).localeCompare(String(b[0])));
    found.push({ path, values: values.slice(0, MAX_VALUES) });
  }
  return found.sort((a, b) => a.values.length - b.values.length).slice(0, MAX_PATHS);
}

// The facets to show: those of the hits, and for a path that is filtered already what stood there before.
export function withChosen(found, earlier, chips) {
  const shown = new Map(found.map((facet) => [facet.path, facet]));
  for (const path of new Set(chips.map(([path]) => path))) {
    const before = earlier.find((facet) => facet.path === path) ?? shown.get(path) ?? { path, values: [] };
    const chosen = chips.filter((chip) => chip[0] === path).map(([, value]) => value);
    const missing = chosen.filter((value) => !before.values.some(([known]) => known === value));
    shown.set(path, { path, values: [...before.values, ...missing.map((value) => [value, 0])] });
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
