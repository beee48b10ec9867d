// Pictures of the searcher's: chosen, dropped or pasted, and kept in memory as long as the page is.

const MAX_BYTES = 32 * 1024 * 1024;

export class Pictures {
  #kept = new Map();

  get(key) {
    return this.#kept.get(key);
  }

  // Keeps a file and gives its key, which says its name.
  add(file) {
    const key = `${this.#kept.size + 1} ${file.name || "pasted picture"}`;
    this.#kept.set(key, { file, name: file.name || "pasted picture", url: URL.createObjectURL(file) });
    return key;
  }
}

// What is wrong with a file before it is sent, or nothing.
export function refusal(file) {
  if (file.type && !file.type.startsWith("image/")) {
    return `“${file.name}” is no picture. Choose a PNG, JPEG, GIF, WebP, BMP or TIFF file.`;
  }
  if (file.size > MAX_BYTES) return `“${file.name}” has ${Math.ceil(file.size / 1048576)} MiB; a picture may have 32.`;
  return null;
}

const pictureOf = (transfer) => [...(transfer?.files ?? [])][0] ?? null;

// Calls `take` with each file that is chosen, dropped anywhere or pasted; `mark` says whether one hovers over the page.
export function listen({ input, button, take, mark }) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    // The same file may be chosen again.
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = pictureOf(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    mark(true);
  });
  document.addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(depth - 1, 0);
    if (depth === 0) mark(false);
  });
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener("drop", (event) => {
    depth = 0;
    mark(false);
    if (!hasFiles(event)) return;
    // Else the browser would leave the page for the file.
    event.preventDefault();
    const file = pictureOf(event.dataTransfer);
    if (file) take(file);
  });
}
