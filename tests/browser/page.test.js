// The live page in headless Chromium against real nodes: every view in both themes and on a narrow screen, keys, kicks,
// pushes, the console, names that look like markup, and a node that goes away. `scripts/test` runs it; by hand:
// `npm ci --ignore-scripts && node --test`.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { faults } from "./faults.js";
import { ask, client, push, start, token, until } from "./node.js";
import { nodeOf, textOf, visitor, waitFor } from "./visit.js";

const KEY = "a-key-of-the-browser-tests";
const NARROW = { width: 375, height: 800 };

const visit = visitor();

// A node that does not keep a history answers 404, which the browser reports whatever the page does with it.
const NO_HISTORY = /404.*\/history/;

describe("a node without a configuration", () => {
  const held = nodeOf({ settings: null });

  test("the first minute: connect, push, and see it arrive", async (t) => {
    const page = await visit(t, held.node.page);
    assert.equal(await page.locator("#view-try").isVisible(), true, "what is to be tried comes first");
    assert.match(await textOf(page, "#token-says"), /^user demo, 2[34] h/);
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as demo");
    assert.doesNotMatch(await textOf(page, "#log"), /eyJ/, "the token is not in the log");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.good", "1 connection took it.");
    assert.match(await textOf(page, "#push-results"), /matched 1 · queued 1 · dropped 0 · nodes 1 of 1/);
    await waitFor(page, "#log li.push", '{"path":"hello","body":{"text": "It works"}}');
    await page.click("#send");
    await waitFor(page, "#log li.reply", '"path":"ping","status":200');
    await page.click("#connect");
    await waitFor(page, "#log li.end", "closed 1000");
    assert.equal(await page.locator("#send").isDisabled(), true);
  });

  test("a topic is subscribed and pushed to", async (t) => {
    const page = await visit(t, held.node.page);
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as demo");
    await page.click('button[data-path="subscribe"]');
    await page.click("#send");
    await waitFor(page, "#log li.reply", '"topics":["news"]');
    await page.getByLabel("a topic").check();
    await page.getByLabel("Topic", { exact: true }).fill("news");
    await page.fill("#push-body", "[1.50]");
    await page.click("#push-send");
    await waitFor(page, "#log li.push", '{"path":"hello","topic":"news","body":[1.50]}');
    assert.equal(await textOf(page, "#push-preview"), '{"path":"hello","topic":"news","body":[1.50]}');
  });

  test("the call for a terminal does the same", async (t) => {
    const page = await visit(t, held.node.page);
    await page.fill("#push-body", `"it's"`);
    const line = await textOf(page, "#push-curl");
    assert.equal(
      line,
      `curl ${held.node.page}v1/push -d '{"to":{"user":"demo"},"path":"hello","body":"it'\\''s"}'`,
    );
  });

  test("a push to nobody says so, one to everybody asks first", async (t) => {
    const page = await visit(t, held.node.page);
    await page.fill("#push-name", "nobody");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.none", "Nobody is there to get it.");
    await page.getByLabel("everybody").check();
    await page.click("#push-send");
    await waitFor(page, "#confirm", "Push to everybody?");
    await page.keyboard.press("Escape");
    assert.equal(await page.locator("#push-results li").count(), 1, "nothing was sent");
    await page.click("#push-send");
    await page.click("#confirm-yes");
    await until("the second result", async () => (await page.locator("#push-results li").count()) === 2);
  });

  test("what is wrong with a push is said, by the page or by the node", async (t) => {
    const page = await visit(t, held.node.page, { expected: /400.*v1\/push/ });
    await page.fill("#push-body", "{");
    await page.click("#push-send");
    assert.match(await textOf(page, "#push-wrong"), /^The body is not JSON: /);
    assert.equal(await page.locator("#push-results li").count(), 0);
    await page.fill("#push-body", "");
    await page.fill("#push-path", "no spaces");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.bad", /path/);
  });

  test("a token that is refused, and a body that is no JSON", async (t) => {
    const page = await visit(t, held.node.page);
    await page.fill("#token", "x.y.z");
    assert.equal(await textOf(page, "#token-says"), "this is no JWT");
    await page.click("#connect");
    await waitFor(page, "#log li.refused", "token_invalid");
    await waitFor(page, "#client-state", "not logged in");
    await page.fill("#body", "{");
    await page.click("#send");
    await waitFor(page, "#log li.end", "The body is not JSON");
    await page.click("#log-clear");
    assert.equal(await page.locator("#log li").count(), 0);
  });

  test("nobody listens: the console says what may be the reason", async (t) => {
    const page = await visit(t, held.node.page, { expected: /WebSocket connection to/ });
    await page.fill("#url", "ws://127.0.0.1:1/ws");
    await page.click("#connect");
    await waitFor(page, "#log li.end", "nobody listens there");
    assert.equal(await textOf(page, "#connect"), "Connect");
  });
});

describe("a node in service", () => {
  const held = nodeOf({ settings: 'auth.default_topics = ["*"]\nlimits.outbound_bytes = "64MiB"' });

  for (const theme of ["light", "dark"]) {
    for (const size of [{ width: 1280, height: 800 }, NARROW]) {
      test(`every view, ${theme}, ${size.width} wide`, async (t) => {
        const others = [await client(held.node, "anna", { device: "phone" }), await client(held.node, "anna")];
        t.after(() => others.forEach((other) => other.end()));
        const page = await visit(t, held.node.page, { ...size, theme, expected: NO_HISTORY });
        for (const [hash, title] of [
          ["", "The last minutes"],
          ["#users/anna", "Who is online"],
          ["#try", "Be a client, be a backend"],
        ]) {
          await page.evaluate((to) => (location.hash = to), hash);
          await page.getByRole("heading", { name: title }).waitFor();
          if (hash === "#users/anna") await waitFor(page, "#user-connections", "phone");
          if (hash === "") await waitFor(page, "#reactors tbody", "%");
          assert.deepEqual(await page.evaluate(faults), [], `${title} has no faults`);
        }
        assert.equal(await page.evaluate(() => scrollY), 0, "a view begins at its top");
        const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const [red] = paper.match(/\d+/g).map(Number);
        assert.equal(red > 128, theme === "light", `${paper} is ${theme}`);
      });
    }
  }

  test("the theme is chosen by hand and stays chosen", async (t) => {
    const page = await visit(t, held.node.page);
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await paper();
    await page.click("#theme");
    assert.equal(await paper(), light);
    await page.click("#theme");
    assert.notEqual(await paper(), light);
    assert.equal(await textOf(page, "#theme"), "Theme: dark");
    await page.reload();
    assert.notEqual(await paper(), light);
  });

  test("plots move with what happens, and their cursor with the keys", async (t) => {
    const page = await visit(t, held.node.page);
    const plot = page.getByRole("group", { name: /^Deliveries/ });
    await until("something to be drawn", () => plot.locator("path.line").count());
    const other = await client(held.node, "plotted");
    t.after(() => other.end());
    await until("deliveries in the legend", async () => {
      await push(held.node, { user: "plotted" });
      return /written [1-9]|written 0\.[1-9]/.test((await plot.innerText()).replace(/\s+/g, " "));
    });
    await waitFor(page, "#tile-connections", /^[1-9]/);
    assert.equal(await plot.locator(".time").innerText(), "");
    await plot.focus();
    await page.keyboard.press("ArrowLeft");
    assert.match(await plot.locator(".time").innerText(), /^\d\d:\d\d:\d\d$/);
    await page.keyboard.press("Escape");
    assert.equal(await plot.locator(".time").innerText(), "");
    await page.getByLabel("2 min").check();
    assert.match(await plot.locator("svg").textContent(), /2 min ago/);
  });

  test("closes are counted by reason", async (t) => {
    const page = await visit(t, held.node.page);
    const plot = page.getByRole("group", { name: /^Closes/ });
    await until("something to be drawn", () => plot.locator("path.line").count());
    const other = await client(held.node, "gone");
    await ask(held.node, "v1/users/gone", { method: "DELETE" });
    other.end();
    await until("the kick in the legend", async () => /kicked 1/.test((await plot.innerText()).replace(/\s+/g, " ")));
  });

  test("a user is looked up, one connection is kicked, then all", async (t) => {
    const page = await visit(t, held.node.page, { expected: NO_HISTORY });
    const others = [];
    for (const device of ["phone", "laptop", "watch"]) others.push(await client(held.node, "berta", { device }));
    t.after(() => others.forEach((other) => other.end()));
    await page.getByRole("link", { name: "Users" }).click();
    await page.getByRole("textbox", { name: "User", exact: true }).fill("berta");
    await page.keyboard.press("Enter");
    await waitFor(page, "#user-badge", "online");
    assert.equal(await page.locator("#user-connections tbody tr").count(), 3);
    await page.locator("#user-connections tr", { hasText: "laptop" }).getByRole("button").click();
    await waitFor(page, "#confirm", "Close this connection?");
    await page.getByRole("button", { name: "Cancel" }).click();
    assert.equal((await ask(held.node, "v1/users/berta")).connections.length, 3, "nothing was done");
    await page.locator("#user-connections tr", { hasText: "laptop" }).getByRole("button").click();
    await page.click("#confirm-yes");
    await waitFor(page, "#user-status", "1 connection closed.");
    assert.equal(await page.locator("#user-connections tbody tr").count(), 2);
    await page.click("#user-kick");
    await page.click("#confirm-yes");
    await waitFor(page, "#user-status", "2 connections closed.");
    await waitFor(page, "#user-badge", "offline");
  });

  test("the console hears that it was kicked", async (t) => {
    const page = await visit(t, held.node.page);
    await page.getByRole("link", { name: "Push & console" }).click();
    await page.fill("#token", token("carl"));
    await page.fill("#device", "browser");
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as carl");
    assert.equal((await ask(held.node, "v1/users/carl")).connections[0].device, "browser");
    await ask(held.node, "v1/users/carl", { method: "DELETE" });
    await waitFor(page, "#log li.end", "closed 4403 kicked");
    await waitFor(page, "#log li.end", "kicked by an operator or a service");
    assert.equal(await textOf(page, "#connect"), "Connect");
  });

  test("a history is shown where the node keeps one, and hidden where not", async (t) => {
    const page = await visit(t, held.node.page, { expected: NO_HISTORY });
    let events = null;
    await page.route("**/history", (route) =>
      events ? route.fulfill({ json: { user: "dora", events } }) : route.fulfill({ status: 404, json: {} }),
    );
    await page.goto(`${held.node.page}#users/dora`);
    await waitFor(page, "#user-badge", "offline");
    assert.equal(await page.locator("#user-history").isVisible(), false);
    events = [
      { at_ms: 1795373070215, event: "connected", device: "phone" },
      { at_ms: 1795373080215, event: "<b>disconnected</b>", reason: "kicked", code: 4403, device: null },
    ];
    await page.getByRole("button", { name: "Look up" }).click();
    await waitFor(page, "#user-history", "connected");
    const rows = await page.locator("#user-history tbody tr").allInnerTexts();
    assert.match(rows[0], /<b>disconnected<\/b>\s+reason kicked · code 4403/);
    assert.match(rows[1], /connected\s+device phone/);
  });

  test("the slowest consumers are named", async (t) => {
    const slow = await client(held.node, "<i>slow</i>", { deaf: true });
    t.after(() => slow.end());
    const page = await visit(t, held.node.page, { expected: NO_HISTORY });
    await waitFor(page, "#slow tbody", "Nobody");
    const filler = "x".repeat(200_000);
    await until("something to wait for it", async () => {
      await push(held.node, { user: "<i>slow</i>" }, "p", filler);
      return (await ask(held.node, "v1/slow")).connections.length > 0;
    });
    await waitFor(page, "#slow tbody", /iB/);
    assert.match(await textOf(page, "#slow tbody tr"), /^<i>slow<\/i>\s+–\s+127\.0\.0\.1\s+[\d.]+ [KM]iB$/);
    await page.locator("#slow a").click();
    await waitFor(page, "#user-title", "<i>slow</i>");
    slow.end();
  });

  test("names and messages that look like markup are text", async (t) => {
    const evil = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>"'`;
    const other = await client(held.node, evil, { device: "<b>bold</b>" });
    t.after(() => other.end());
    const page = await visit(t, held.node.page, { expected: NO_HISTORY });
    await page.goto(`${held.node.page}#users/${encodeURIComponent(evil)}`);
    await waitFor(page, "#user-badge", "online");
    assert.equal(await page.locator("#user-title").textContent(), evil);
    assert.match(await textOf(page, "#user-connections tbody"), /<b>bold<\/b>/);
    await page.goto(`${held.node.page}#try`);
    await page.fill("#token", token(evil));
    await page.click("#connect");
    await waitFor(page, "#client-state", `connected as ${evil}`);
    await push(held.node, { user: evil }, "p", evil);
    await waitFor(page, "#log li.push", "<img src=x onerror=");
    await page.fill("#push-body", JSON.stringify(evil));
    await page.click("#push-send");
    await waitFor(page, "#push-results li.good", "2 connections took it.");
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.equal(await page.locator("main img, main script, main b:has(> *)").count(), 0);
  });

  test("everything can be reached and named without a mouse", async (t) => {
    const page = await visit(t, held.node.page);
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the content");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Who is online" }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "users-title", "the focus goes along");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.id), "user-name");
  });
});

describe("a node with keys", () => {
  const held = nodeOf({ settings: `api.keys = ["${KEY}"]` });
  const REFUSED = /401/;

  test("no figure without a key, and a wrong one is said to be wrong", async (t) => {
    const page = await visit(t, held.node.page, { expected: REFUSED });
    await page.getByRole("heading", { name: "This node asks for a key" }).waitFor();
    assert.equal(await page.locator(".tiles").isVisible(), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), "key");
    await page.keyboard.type("wrong");
    await page.keyboard.press("Enter");
    await waitFor(page, "#key-wrong", "The node does not take this key.");
    await page.getByLabel("API key").fill("schlüssel");
    await page.keyboard.press("Enter");
    await waitFor(page, "#key-wrong", "none but ASCII");
    await page.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "The last minutes" }).waitFor();
    await waitFor(page, "#node-name", "n1");
    assert.equal(await page.locator("#key-part").isVisible(), false);
  });

  test("the key stays in the tab alone, until it is forgotten", async (t) => {
    const page = await visit(t, held.node.page, { expected: REFUSED });
    await page.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await waitFor(page, "#node-name", "n1");
    assert.deepEqual(
      await page.evaluate(() => [JSON.stringify(localStorage), document.cookie, location.href].join(" ").includes("a-key")),
      false,
    );
    assert.equal(await page.locator("#key").inputValue(), "");
    await page.reload();
    await waitFor(page, "#node-name", "n1");
    const other = await page.context().newPage();
    await other.goto(held.node.page);
    await other.getByRole("heading", { name: "This node asks for a key" }).waitFor();
    await page.getByRole("button", { name: "Forget key" }).click();
    await page.getByRole("button", { name: "Forget it" }).click();
    await page.getByRole("heading", { name: "This node asks for a key" }).waitFor();
  });

  test("pushes and look-ups show the key, the console needs none", async (t) => {
    const page = await visit(t, `${held.node.page}#try`, { expected: /401|404.*history/, ...NARROW });
    await page.getByRole("heading", { name: "This node asks for a key" }).waitFor();
    assert.deepEqual(await page.evaluate(faults), []);
    await page.fill("#token", token("emil"));
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as emil");
    await page.getByLabel("API key").fill(KEY);
    await page.keyboard.press("Enter");
    await page.click("#push-send");
    await waitFor(page, "#push-results li.good", "1 connection took it.");
    assert.match(await textOf(page, "#push-curl"), /-H "Authorization: Bearer \$LONGWIRE_KEY"/);
    assert.doesNotMatch(await page.content(), new RegExp(KEY));
  });
});

describe("a node that goes", () => {
  test("it dies and comes back", async (t) => {
    let node = await start();
    t.after(() => node.stop());
    const page = await visit(t, node.page, { expected: /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/ });
    await waitFor(page, "#node-state", "ready");
    await node.stop();
    await waitFor(page, "#banner", /^No news: the node does not answer. Last answer at \d\d:\d\d:\d\d/);
    await waitFor(page, "#node-state", "out of reach");
    node = await start({ listen: node.listen, api: node.api });
    await waitFor(page, "#node-state", "ready");
    assert.equal(await page.locator("#banner").isVisible(), false);
  });

  test("it drains: the page says so, and the console when to come back", async (t) => {
    const node = await start({ settings: 'timeouts.drain = "60s"' });
    t.after(() => node.stop());
    const page = await visit(t, `${node.page}#try`, { expected: /503.*readyz/ });
    await page.fill("#token", token("fritz"));
    await page.click("#connect");
    await waitFor(page, "#client-state", "connected as fritz");
    const others = await Promise.all([1, 2, 3].map((n) => client(node, `other${n}`)));
    t.after(() => others.forEach((other) => other.end()));
    await ask(node, "v1/drain", { method: "POST" });
    await waitFor(page, "#node-state", "draining");
    await page.getByRole("link", { name: "Overview" }).click();
    await waitFor(page, "#cluster", "draining");
  });
});
