// Walks through the page in Chromium: each walk has a page of its own, and every page is watched for errors in its console and for
// requests to anybody else. Run by scripts/browser.sh.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

import { check } from "./check.mjs";
import { Server } from "./server.mjs";
import { countsAndGroups } from "./groups.mjs";
import { keyboardOnly } from "./keyboard.mjs";
import { shopper } from "./shopper.mjs";
import { emptyAndLocked, narrow, refusals, reloaded, wordsOnly } from "./states.mjs";

const require = createRequire(path.resolve(".deps/browser/node_modules/"));
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(path.resolve(".deps/browser/node_modules/axe-core/axe.min.js"), "utf8");

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const screenshots = process.argv.includes("--screenshots") ? path.resolve("docs") : path.resolve(".deps/browser");

// A page with what the walks do again and again.
class Visit {
  constructor(page, url) {
    this.page = page;
    this.url = url;
    this.problems = [];
    // Set while a refusal is expected: Chromium reports each in the console.
    this.expectsRefusal = false;
    page.on("console", (message) => {
      const isRefusal = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !(isRefusal && this.expectsRefusal)) this.problems.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.problems.push(`error: ${error.stack}`));
    page.on("request", (request) => {
      const to = request.url();
      if (!to.startsWith(`${url}/`) && !to.startsWith(`blob:${url}/`)) this.problems.push(`a request to ${to}`);
    });
  }

  async open(fragment = "") {
    await this.page.goto(`${this.url}/${fragment}`);
    await this.settled();
  }

  // Waits until nothing is asked for any more.
  async settled() {
    await this.page.waitForFunction(() => document.getElementById("results").getAttribute("aria-busy") === "false");
  }

  // Does something that searches, and gives the search's answer.
  async answer(act) {
    const [response] = await Promise.all([
      this.page.waitForResponse((response) => new URL(response.url()).pathname === "/v1/search"),
      act(),
    ]);
    await this.settled();
    return response.json();
  }

  text = (selector) => this.page.locator(selector).innerText();
  names = () => this.page.locator("#hits .name").allInnerTexts();
  steps = () => this.page.locator("#trail .value").allInnerTexts();

  // Drops a file onto the page, as a hand would.
  async drop(name, type, bytes) {
    const transfer = await this.page.evaluateHandle(
      ([name, type, base64]) => {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        return transfer;
      },
      [name, type, bytes.toString("base64")],
    );
    await this.page.dispatchEvent("body", "dragenter", { dataTransfer: transfer });
    check(await this.page.locator("#drop").isVisible(), "a file that hovers is not welcomed");
    await this.page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  }

  // Nothing serious stands in the way of anybody, in light and in dark, and nothing is wider than the window.
  async accessible(where) {
    for (const colorScheme of ["light", "dark"]) {
      await this.page.emulateMedia({ colorScheme });
      // As the walk sees it: Chromium changes colours over time.
      await this.page.waitForTimeout(250);
      const found = await this.page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
      const grave = found.violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
      const said = grave.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
      check(grave.length === 0, `${where}, ${colorScheme}: ${said.join("\n")}`);
    }
    await this.page.emulateMedia({ colorScheme: "light" });
    const [wide, wanted] = await this.page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    check(wide <= wanted, `${where}: ${wide} pixels wide in a window of ${wanted}`);
  }

  async screenshot(name) {
    // Pictures fade in.
    await this.page.waitForLoadState("networkidle");
    await this.page.evaluate(() => {
      document.activeElement.blur();
      window.scrollTo(0, 0);
    });
    await this.page.waitForTimeout(400);
    await this.page.screenshot({ path: path.join(screenshots, name) });
  }
}

async function walk(browser, name, url, viewport, steps) {
  const started = Date.now();
  let shift = 0;
  const context = await browser.newContext({ viewport, reducedMotion: "no-preference", locale: "en-US" });
  await context.addInitScript(() => {
    window.shift = 0;
    const add = (list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
    };
    new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
  });
  const visit = new Visit(await context.newPage(), url);
  visit.page.setDefaultTimeout(20_000);
  try {
    await steps(visit);
    shift = await visit.page.evaluate(() => window.shift);
    check(shift < 0.1, `what stood on the page moved by itself: ${shift}`);
    check(visit.problems.length === 0, visit.problems.join("\n"));
  } catch (error) {
    await visit.page.screenshot({ path: path.resolve(".deps/browser/failed.png") }).catch(() => undefined);
    console.error(`browser: ${name} failed (.deps/browser/failed.png): ${[error.stack, ...visit.problems].join("\n")}`);
    throw new Error(`${name} failed`);
  } finally {
    await context.close();
  }
  console.log(`browser: ${name}: ${((Date.now() - started) / 1000).toFixed(1)} s, layout shift ${shift.toFixed(3)}`);
}

async function main() {
  const flags = ["--no-sandbox", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"];
  const browser = await chromium.launch({ executablePath: process.env.PICTOR_CHROMIUM, args: flags });
  const servers = [];
  try {
    const server = await Server.start();
    servers.push(server);
    server.fill();
    await walk(browser, "the shopper's path", server.url, DESKTOP, (visit) => shopper(visit, browser));
    await walk(browser, "counts, groups and examples", server.url, DESKTOP, countsAndGroups);
    await walk(browser, "with the keyboard alone", server.url, DESKTOP, keyboardOnly);
    await walk(browser, "on a phone", server.url, PHONE, (visit) => narrow(visit, "page-phone.png"));
    await walk(browser, "on a narrow phone", server.url, { width: 360, height: 740 }, (visit) => narrow(visit));
    await walk(browser, "a field that takes words only", server.url, DESKTOP, wordsOnly);
    await walk(browser, "after a reload", server.url, DESKTOP, reloaded);
    await walk(browser, "refusals and a server that stops", server.url, DESKTOP, (visit) => refusals(visit, server));
    const locked = await Server.start("admin browser-test-key-0001\n");
    servers.push(locked);
    await walk(browser, "an empty server with keys", locked.url, DESKTOP, (visit) => emptyAndLocked(visit, locked));
    console.log("browser: no console error, no request to anybody else, nothing serious or critical by axe");
  } finally {
    await browser.close();
    for (const server of servers) await server.remove();
  }
}

main().catch((error) => {
  console.error(`browser: ${error.stack}`);
  process.exitCode = 1;
});
