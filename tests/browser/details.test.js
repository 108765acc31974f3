// What the live page says in so many words, in headless Chromium against real nodes: the call for a terminal, what came of
// a push, what became of a user, numbers and names as they were written. `page.test.js` has the views as a whole.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { client, start, token, until } from "./node.js";
import { nodeOf, textOf, visitor, waitFor } from "./visit.js";

const KEY = "a-key-of-the-browser-tests";
// Right-to-left override: what follows it is shown the other way round.
const OVERRIDE = "\u202e";

const visit = visitor();

describe("users", () => {
  const held = nodeOf();

  test("a kick is in the history without another look-up, in words", async (t) => {
    const others = [await client(held.node, "greta", { device: "phone" }), await client(held.node, "greta")];
    t.after(() => others.forEach((other) => other.end()));
    const page = await visit(t, `${held.node.page}#users/greta`);
    await waitFor(page, "#user-history", "connected");
    assert.match(await textOf(page, "#user-history"), /expires \d+ \w+ \d{4}, \d\d:\d\d:\d\d/);
    await page.click("#user-kick");
    await page.click("#confirm-yes");
    await until("both ends in the history", async () => {
      const rows = await page.locator("#user-history tbody tr").allInnerTexts();
      return rows.filter((row) => /closed\s[^]*reason kicked/.test(row)).length === 2;
    });
    const text = await textOf(page, "#user-history");
    assert.match(text, /lived [\d.]+ m?s/);
    assert.match(text, /queued \d+ B/);
    assert.doesNotMatch(text, /expires_at|lived_ms|queued_bytes/);
  });

  test("times and events stand on one line", async (t) => {
    const page = await visit(t, held.node.page);
    const events = [{ at_ms: 1795373070215, event: "connected", connection: "c".repeat(300), node: "n".repeat(60) }];
    await page.route("**/history", (route) => route.fulfill({ json: { user: "hedi", events } }));
    await page.goto(`${held.node.page}#users/hedi`);
    await waitFor(page, "#user-history", "connected");
    for (const label of ["When", "What"]) {
      const lines = await page.locator(`#user-history [data-label="${label}"]`).evaluate((cell) => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return range.getClientRects().length;
      });
      assert.equal(lines, 1, label);
    }
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  });

  test("a name that no browser can ask for is said to be one", async (t) => {
    const page = await visit(t, held.node.page);
    for (const name of [".", ".."]) {
      await page.goto(`${held.node.page}#users/${name}`);
      await waitFor(page, "#user-status", `curl --path-as-is ${held.node.page}v1/users/${name}`);
      assert.equal(await page.locator("#user-card").isVisible(), false);
    }
  });

  test("how long somebody is here goes on", async (t) => {
    const other = await client(held.node, "ida");
    t.after(() => other.end());
    const page = await visit(t, `${held.node.page}#users/ida`);
    await waitFor(page, "#user-badge", "online");
    const first = await textOf(page, '[data-label="Here for"]');
    await until("another time", async () => (await textOf(page, '[data-label="Here for"]')) !== first);
  });

  test("a name that turns round what follows it turns nothing round", async (t) => {
    const evil = `ab${OVERRIDE}cd`;
    const other = await client(held.node, evil);
    t.after(() => other.end());
    const page = await visit(t, `${held.node.page}#users/${encodeURIComponent(evil)}`);
    await waitFor(page, "#user-badge", "online");
    await page.click("#user-kick");
    assert.equal(await page.locator("#confirm-question bdi").textContent(), evil);
    await page.keyboard.press("Escape");
    await page.goto(`${held.node.page}#try`);
    await page.fill("#push-name", evil);
    await page.fill("#push-body", `"${OVERRIDE}"`);
    assert.equal(await textOf(page, "#push-preview"), '{"path":"hello","body":"\\u202e"}');
    assert.match(await textOf(page, "#push-curl"), /"to":\{"user":"ab\\u202ecd"\},.*"body":"\\u202e"\}'$/);
    await page.click("#push-send");
    await waitFor(page, "#push-results li.good", "1 connection took it.");
  });
});

describe("pushes and the console", () => {
  const held = nodeOf();

  test("a push that is refused was not sent, one without an answer may have been", async (t) => {
    const page = await visit(t, `${held.node.page}#try`, { expected: /400.*v1\/push|ERR_FAILED.*v1\/push/ });
    await page.fill("#push-name", "jan");
    await page.fill("#push-path", "no spaces");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.bad", "Refused: nothing was sent.");
    await page.route("**/v1/push", (route) => route.abort());
    await page.click("#push-send");
    await waitFor(page, "#push-results li.bad", "nobody knows");
  });

  test("a space at the end of a name belongs to it", async (t) => {
    const other = await client(held.node, " karl ");
    t.after(() => other.end());
    const page = await visit(t, `${held.node.page}#try`);
    await page.fill("#push-name", " karl ");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.good", "1 connection took it.");
  });

  test("the console sends numbers as they were written", async (t) => {
    const page = await visit(t, `${held.node.page}#try`);
    await page.fill("#token", token("lars"));
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as lars");
    await page.fill("#body", '{"a": 9007199254740993, "b": 1.50}');
    await page.click("#send");
    await waitFor(page, "#log li.sent", '"body":{"a": 9007199254740993, "b": 1.50}}');
    await waitFor(page, "#log li.reply", '"path":"ping","status":200');
  });

  test("where tokens come from is said as long as there is none", async (t) => {
    const page = await visit(t, `${held.node.page}#try`);
    assert.equal(await page.locator("#token-help").isVisible(), true);
    await page.fill("#token", "x");
    assert.equal(await textOf(page, "p:has(> #token-says)"), "this is no JWT");
    await page.fill("#token", "");
    assert.equal(await page.locator("#token-help").isVisible(), true);
  });
});

describe("the overview", () => {
  test("two minutes to begin with, and messages apart from pushes", async (t) => {
    const node = await start();
    t.after(() => node.stop());
    const page = await visit(t, node.page);
    const plot = page.getByRole("group", { name: /^Pushes and messages/ });
    await waitFor(page, "#reactors tbody", "%");
    assert.match(await plot.innerText(), /messages from clients/);
    assert.match(await plot.locator("svg").textContent(), /2 min ago.*now/);
  });

  test("a node that is gone has no now", async (t) => {
    const node = await start();
    t.after(() => node.stop());
    const page = await visit(t, node.page, { expected: /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/ });
    await waitFor(page, "#reactors tbody", "%");
    await node.stop();
    await waitFor(page, "#node-state", "out of reach");
    assert.match(await textOf(page, "#node-since"), /^last answer at \d\d:\d\d:\d\d$/);
    const axis = await page.locator(".plot svg").first().textContent();
    assert.match(axis, /\d\d:\d\d:\d\d\d\d:\d\d:\d\d$/);
    await page.getByLabel("15 min").check();
    assert.doesNotMatch(await page.locator(".plot svg").first().textContent(), /now|ago/);
  });
});

describe("a key", () => {
  const held = nodeOf({ settings: `api.keys = ["${KEY}"]` });

  test("the call for a terminal has it as soon as it is given", async (t) => {
    const page = await visit(t, `${held.node.page}#try`, { expected: /401/ });
    await page.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await page.locator("#push-curl").waitFor();
    assert.match(await textOf(page, "#push-curl"), /-H "Authorization: Bearer \$LONGWIRE_KEY"/);
  });
});
