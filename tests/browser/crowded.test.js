// The live page with names as long as they may be, and with a cluster of which a part does not answer: what is short stays
// whole, and nothing is said that nobody knows. `page.test.js` has the views as a whole.

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, token } from "./node.js";
import { nodeOf, visitor } from "./visit.js";

const LONG = "gateway-eu-central-1a-0123456789abcdef0123456789";
const TROUBLE = "NATS is out of reach: nats: IO error (127.0.0.1:4222: Connection refused (os error 111); 127.0.0.2:4222: timed out)";

const held = nodeOf();
const open = visitor();

// A page whose answers for these addresses are made up.
async function visit(t, hash, { answers = {}, ...options } = {}) {
  const page = await open(t, "about:blank", options);
  for (const [path, { status = 200, ...json }] of Object.entries(answers)) {
    await page.route(`**/${path}`, (route) => route.fulfill({ status, json }));
  }
  await page.goto(held.node.page + hash);
  return page;
}

const CLUSTER = {
  nodes: [LONG, "n2"].map((name) => ({ name, version: "0.1.0", since_ms: Date.now() - 73_000, connections: 98_112, state: "up" })),
};
// A cluster whose other node is out of reach.
const APART = {
  readyz: { status: 503, code: "not_ready", detail: TROUBLE },
  "v1/cluster": CLUSTER,
};
const NOT_READY = /503.*readyz/;

// How many lines each of the elements' texts takes.
const linesOf = (page, selector) =>
  page.locator(selector).evaluateAll((elements) =>
    elements.map((element) => {
      const range = document.createRange();
      range.selectNodeContents(element);
      return [element.innerText, new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size];
    }),
  );

for (const width of [1280, 1010, 800, 660]) {
  test(`short words stay whole beside long names at ${width} pixels`, async (t) => {
    const devices = ["d".repeat(64), "phone"];
    const others = await Promise.all(devices.map((device) => client(held.node, "w".repeat(128), { device })));
    t.after(() => others.forEach((other) => other.end()));
    const slow = { node: LONG, connections: [] };
    const page = await visit(t, "#overview", { width, answers: { "v1/cluster": CLUSTER, "v1/slow": slow } });
    await page.locator("#cluster .badge").first().waitFor();
    await page.locator("#node-state").filter({ hasText: "ready" }).waitFor();
    const short = ["#node-state", "#cluster .badge", "#cluster .number:is(td)", "#cluster th:not(.number)"];
    for (const selector of short) for (const [text, lines] of await linesOf(page, selector)) assert.equal(lines, 1, text);
    await page.goto(`${held.node.page}#users/${"w".repeat(128)}`);
    await page.locator("#user-badge").filter({ hasText: "online" }).waitFor();
    const cells = ["#user-badge", "#user-connections th:not(:last-child)", "#user-connections [data-label='Topics']"];
    for (const selector of cells) for (const [text, lines] of await linesOf(page, selector)) assert.ok(lines <= 1, text);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false);
  });
}

test("why a node is not ready is said in full, and not beside its name", async (t) => {
  const page = await visit(t, "#overview", { answers: APART, expected: NOT_READY });
  await page.locator("#banner").filter({ hasText: TROUBLE }).waitFor();
  assert.equal(await page.locator("#node-state").innerText(), "NATS is out of reach");
});

test("what stays the same is not read out at each look", async (t) => {
  const page = await visit(t, "#overview", { answers: APART, expected: NOT_READY });
  await page.locator("#banner").filter({ hasText: TROUBLE }).waitFor();
  await page.evaluate(() => {
    window.changes = 0;
    const observer = new MutationObserver((records) => (window.changes += records.length));
    for (const alert of document.querySelectorAll("[role=alert], [role=status]"))
      observer.observe(alert, { attributes: true, childList: true, characterData: true, subtree: true });
  });
  for (let looks = 0; looks < 3; looks++) await page.waitForResponse("**/readyz");
  assert.equal(await page.evaluate(() => window.changes), 0);
});

test("a user of whom not all nodes tell is not said to be offline", async (t) => {
  const user = { user: "nobody", online: false, connections: [], nodes: { asked: 3, answered: 1 } };
  const page = await visit(t, "#users/nobody", { answers: { "v1/users/nobody": user, ...APART }, expected: NOT_READY });
  await page.locator("#user-missing").filter({ hasText: "Only 1 of 3 nodes answered" }).waitFor();
  assert.equal(await page.locator("#user-badge").innerText(), "not known");
  assert.match(await page.locator("#user-connections tbody").innerText(), /on those that answered/);
});

test("what is missing in a history is said", async (t) => {
  const user = { user: "nobody", online: false, connections: [] };
  const history = { user: "nobody", events: [], since_ms: 1795373070215, nodes: { asked: 3, answered: 1 } };
  const page = await visit(t, "#users/nobody", { answers: { "v1/users/nobody": user, "**/history": history } });
  await page.locator("#user-history tbody").filter({ hasText: "Those that answered know nothing of this user." }).waitFor();
  const note = await page.locator("#user-history-note").innerText();
  assert.match(note, /^· only 1 of 3 nodes answered · those remember everything since 22 Nov 2026/);
});

test("of a history of which only the newest is shown, nothing older is said to be whole", async (t) => {
  const user = { user: "nobody", online: false, connections: [] };
  const events = [1795459470215, 1795459480215].map((at_ms) => ({ at_ms, event: "connected", connection: "c", node: "n1" }));
  const history = { user: "nobody", events, more: true, since_ms: 1795373070215 };
  const page = await visit(t, "#users/nobody", { answers: { "v1/users/nobody": user, "**/history": history } });
  const note = page.locator("#user-history-note").filter({ hasText: "the newest 2" });
  assert.match(await note.innerText(), /^· the newest 2 · nothing is missing since 23 Nov 2026/);
});

for (const [matched, says] of [[0, "Nobody to get it on the nodes that answered."], [7, "7 connections took it."]]) {
  test(`a push of which not all nodes tell is no success, with ${matched} that took it`, async (t) => {
    const result = { matched, queued: matched, dropped: 0, nodes: { asked: 3, answered: 1 } };
    const page = await visit(t, "#try", { answers: { "v1/push": result } });
    await page.fill("#push-name", "greta");
    await page.click("#push-send");
    await page.locator("#push-results li.none").filter({ hasText: `${says} 2 nodes did not answer in time.` }).waitFor();
  });
}

test("messages are a list to who hears the page", async (t) => {
  const page = await visit(t, "#try");
  await page.fill("#token", token("greta"));
  await page.click("#connect");
  const list = page.getByRole("log", { name: "Messages" }).getByRole("list");
  await list.getByRole("listitem").filter({ hasText: '"status":200' }).waitFor();
  // And the newest is in view.
  for (let n = 0; n < 20; n++) await page.click("#send");
  await list.getByRole("listitem").filter({ hasText: '"id":21,"path":"ping","status":200' }).waitFor();
  const below = await page.locator("#log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  assert.ok(below <= 1, `${below} pixels are below`);
});
