// The server's JSON API: calls, refusals, the key.

const KEY = "pictor-api-key";

// A call that failed: what the server said of it, or that nobody answered.
export class Problem extends Error {
  constructor({ status = 0, code = "UNREACHABLE", detail = "", field = "", retry_after: retryAfter = 0 }) {
    super(detail);
    Object.assign(this, { status, code, detail, field, retryAfter });
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

// Kept until the tab is closed; an empty one is forgotten.
export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (hasKey()) headers.authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The server does not answer." });
  }
  if (response.ok) return response;
  const isProblem = response.headers.get("content-type") === "application/problem+json";
  const said = isProblem ? await response.json().catch(() => ({})) : {};
  throw new Problem({ code: "UNEXPECTED", detail: response.statusText, ...said, status: response.status });
}

async function json(path, options) {
  const response = await send(path, options);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The server's answer broke off." });
  }
}

export const listCollections = async () => (await json("/v1/collections")).collections;

export const describeCollection = (name) => json(`/v1/collections/${encodeURIComponent(name)}`);

export const readItem = (collection, id) =>
  json(`/v1/items/${encodeURIComponent(collection)}/${encodeURIComponent(id)}?select=payload,texts`);

const post = (query, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(query),
  signal,
});

// Counts items by the values at payload paths.
export const countFacets = (name, query, signal) => json(`/v1/collections/${encodeURIComponent(name)}/facets`, post(query, signal));

// Searches; `files` are pictures by the names that the query's parts give them.
export function search(query, files, signal) {
  if (files.size === 0) return json("/v1/search", post(query, signal));
  const form = new FormData();
  form.append("query", new Blob([JSON.stringify(query)], { type: "application/json" }));
  for (const [name, file] of files) form.append(name, file, name);
  return json("/v1/search", { method: "POST", body: form, signal });
}

// Shows a thumbnail. A browser sends no key for a picture, so with one it is fetched here.
export async function showThumbnail(image, path, size) {
  const sized = `${path}&size=${size}`;
  if (!hasKey()) {
    image.src = sized;
    return;
  }
  try {
    const url = URL.createObjectURL(await (await send(sized)).blob());
    const forget = () => URL.revokeObjectURL(url);
    image.addEventListener("load", forget, { once: true });
    image.addEventListener("error", forget, { once: true });
    image.src = url;
  } catch {
    image.dispatchEvent(new Event("error"));
  }
}
