// A server with a part of the emoji corpus, which can be stopped and started again.

import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const BIN = path.resolve(process.env.PICTOR_BIN);
const CORPUS = path.resolve(".deps/demo/corpus");
// Groups whose pictures tell apart what the walk asks for, without skin tones: a fifth of the corpus.
const GROUPS = new Set(["Animals & Nature", "Food & Drink", "Activities", "Travel & Places"]);

// An item whose every word is an attack; it must be shown as it is written.
export const SCRIPT = `<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>`;

function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

export class Server {
  // Starts on free ports with an empty store; `keys` is the text of a key file.
  static async start(keys) {
    const server = new Server();
    server.folder = fs.mkdtempSync(path.join(os.tmpdir(), "pictor-browser-"));
    server.grpc = await freePort();
    server.http = await freePort();
    server.url = `http://127.0.0.1:${server.http}`;
    server.keys = keys;
    if (keys) fs.writeFileSync(path.join(server.folder, "keys"), keys);
    await server.run();
    return server;
  }

  async run() {
    const flags = ["serve", "--data-dir", path.join(this.folder, "store"), "--models-dir", path.resolve(".deps/models")];
    flags.push("--grpc", `127.0.0.1:${this.grpc}`, "--http", `127.0.0.1:${this.http}`);
    if (this.keys) flags.push("--api-key-file", path.join(this.folder, "keys"));
    const log = fs.openSync(path.join(this.folder, "server.log"), "a");
    this.child = spawn(path.join(BIN, "pictor-server"), flags, { stdio: ["ignore", log, log] });
    for (let tries = 0; ; tries++) {
      const ready = await fetch(`${this.url}/readyz`).catch(() => null);
      if (ready?.ok) return;
      if (this.child.exitCode !== null || tries > 600) throw new Error(fs.readFileSync(path.join(this.folder, "server.log"), "utf8"));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    await ended;
  }

  async remove() {
    if (this.child.exitCode === null) await this.stop();
    fs.rmSync(this.folder, { recursive: true });
  }

  // Runs the command line client.
  pictor(...words) {
    const key = this.keys ? ["--api-key", this.keys.trim().split(/\s+/).at(-1)] : [];
    const url = ["--url", `http://127.0.0.1:${this.grpc}`];
    return execFileSync(path.join(BIN, "pictor"), [...url, ...key, ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  }

  // Stores a fifth of the emoji with their pictures, and the item that attacks.
  fill() {
    const read = fs.readFileSync(path.join(CORPUS, "emoji.jsonl"), "utf8").trim().split("\n");
    const items = read.map((line) => JSON.parse(line));
    const chosen = items.filter((item) => GROUPS.has(item.payload.group) && item.payload.skin_tone === "none");
    const attack = { id: SCRIPT, texts: { name: SCRIPT }, image: chosen[0].image, payload: { group: SCRIPT, title: SCRIPT } };
    const file = path.join(this.folder, "emoji.jsonl");
    fs.mkdirSync(path.join(this.folder, "images"), { recursive: true });
    for (const item of chosen) fs.copyFileSync(path.join(CORPUS, item.image), path.join(this.folder, item.image));
    fs.writeFileSync(file, [...chosen, attack].map((item) => `${JSON.stringify(item)}\n`).join(""));
    const fields = ["--text-field", "text=all-minilm-l6-v2:name,keywords", "--image-field", "image=pictor-mini"];
    this.pictor("collection", "create", "emoji", ...fields, "--default-field", "image");
    this.pictor("index", "create", "emoji", "group", "--kind", "keyword");
    this.pictor("ingest", "emoji", file, "--no-journal");
    this.pictor("collection", "create", "words", "--text-field", "text=all-minilm-l6-v2");
    this.pictor("ingest", "words", "examples/notes.jsonl", "--no-journal");
  }
}

// An OpenMoji drawing of the demo, by a vendor that the model never saw.
export const drawing = (code) => fs.readFileSync(path.join(CORPUS, "queries", `${code}.svg`), "utf8");
