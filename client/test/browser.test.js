// The client in a real browser (headless Chromium) on a real gateway that is killed, drained, stalled, that kicks, and
// whose tokens run out; a browser that goes offline, and a page that goes out of sight. Needs LONGWIRE_BIN, `npm ci` and
// a Chromium.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { launchBrowser, serveFiles } from "./support/browser.js";
import { Gateway, PATIENCE_MS, mintToken, until } from "./support/gateway.js";

let browser, files, gateway;
before(async () => {
  files = await serveFiles(fileURLToPath(new URL("..", import.meta.url)));
  gateway = await Gateway.start({ "timeouts.ping": "1s", "timeouts.drain": "1s", "auth.leeway": "0s" });
  browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
  await files?.close();
});

// A page with a client in `window.wire`, whose states, pushes and reasons for tokens are kept in the page.
// `mint(why, n)` is the backend: the nth token.
async function page(t, user, { mint = () => mintToken(user), options = {} } = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error));
  t.after(() => assert.deepEqual(errors, []));
  let n = 0;
  await page.exposeFunction("mint", (why) => mint(why, ++n));
  await page.goto(files.url);
  await page.evaluate(
    async ([url, options]) => {
      const { Longwire } = await import("/longwire.js");
      Object.assign(window, { states: [], pushes: [], asked: [] });
      const token = (why) => (asked.push(why), mint(why));
      window.wire = new Longwire(url, { token, backoff: { base: 200, max: 1_000 }, ...options });
      wire.onState(({ state, code, reason, status, waitMs }) => states.push({ state, code, reason, status, waitMs }));
      wire.on("*", (body) => pushes.push(body));
      wire.connect();
    },
    [gateway.url, options],
  );
  return page;
}

const opened = (page, n = 1) =>
  page.waitForFunction(
    (n) => wire.state === "open" && states.filter(({ state }) => state === "open").length >= n,
    n,
  );
const waiting = (page) =>
  page.waitForFunction(() => states.find(({ state }) => state === "waiting")).then((found) => found.jsonValue());
const closed = (page) =>
  page.waitForFunction(() => wire.state === "closed" && states.at(-1)).then((found) => found.jsonValue());

async function proveWithPush(page, to) {
  const word = `word ${Math.random()}`;
  assert.equal((await gateway.push(to, "hello", word)).matched, 1);
  await page.waitForFunction((word) => pushes.includes(word), word);
}

test("it logs in, asks and gets pushes", async (t) => {
  const tab = await page(t, "anna", { options: { topics: ["room.1"] } });
  await opened(tab);
  await proveWithPush(tab, { user: "anna" });
  await proveWithPush(tab, { topic: "room.1" });
  assert.deepEqual(await tab.evaluate(() => wire.request("ping")), {});
  const refused = await tab.evaluate(() => wire.request("order/create").catch(({ name, code, status }) => [name, code, status]));
  assert.deepEqual(refused, ["LongwireError", "no_handler", 404]);
  await tab.evaluate(() => wire.close());
  await until("the end at the gateway", async () => (await gateway.connections("anna")).length === 0);
});

test("it comes back to a gateway that was killed, with its topics and what waited", async (t) => {
  const tab = await page(t, "bert", { options: { topics: ["room.1"] } });
  await opened(tab);
  await tab.evaluate(() => wire.subscribe("room.9"));
  await gateway.kill();
  assert.equal((await waiting(tab)).code, 1006);
  await tab.evaluate(() => void (window.queued = wire.request("ping", null, { timeout: Infinity })));
  await gateway.start();
  await opened(tab, 2);
  assert.deepEqual(await tab.evaluate(() => window.queued), {});
  await proveWithPush(tab, { topic: "room.9" });
});

test("it leaves a gateway that drains when it is told, and comes back", async (t) => {
  const tab = await page(t, "carl");
  await opened(tab);
  assert.equal(await gateway.drain(), 0);
  const { code, reason, waitMs } = await waiting(tab);
  assert.deepEqual([code, reason], [1012, `retry_ms=${waitMs}`]);
  await gateway.start();
  await opened(tab, 2);
  await proveWithPush(tab, { user: "carl" });
});

test("it gives a stalled gateway up, and comes back when it runs again", async (t) => {
  const tab = await page(t, "dora");
  await opened(tab);
  gateway.pause();
  t.after(() => gateway.resume());
  assert.equal((await waiting(tab)).reason, "no sign of life");
  gateway.resume();
  await opened(tab, 2);
  await proveWithPush(tab, { user: "dora" });
});

test("it renews a token that runs out, on the connection", async (t) => {
  const tab = await page(t, "emma", { mint: () => mintToken("emma", { ttlS: 6 }) });
  await tab.waitForFunction(() => asked.length >= 3);
  assert.deepEqual(await tab.evaluate(() => asked.slice(0, 3)), ["first", "expiring", "expiring"]);
  assert.equal(await tab.evaluate(() => states.length), 2);
  await proveWithPush(tab, { user: "emma" });
});

test("it comes back with a fresh token when the old one ran out", async (t) => {
  const mint = (why, n) => (n === 2 ? Promise.reject(new Error("backend is down")) : mintToken("fred", { ttlS: n === 1 ? 2 : 3_600 }));
  const tab = await page(t, "fred", { mint });
  await opened(tab, 2);
  assert.equal((await waiting(tab)).code, 4410);
  await proveWithPush(tab, { user: "fred" });
});

test("it stops when a fresh token is refused, when it is kicked, and when nobody is logged in", async (t) => {
  const mint = () => mintToken("gina", { secret: "of somebody else altogether, and long enough" });
  const refused = await closed(await page(t, "gina", { mint }));
  assert.deepEqual([refused.status, refused.reason], [401, "token_invalid"]);

  const tab = await page(t, "hans");
  await opened(tab);
  await gateway.call("DELETE", "/v1/users/hans");
  const kicked = await closed(tab);
  assert.deepEqual([kicked.code, kicked.reason], [4403, "kicked"]);

  assert.equal((await closed(await page(t, "ida", { mint: () => null }))).reason, "no_token");
});

test("it tries at once when the browser is online again", async (t) => {
  const hours = { backoff: { base: 36_000_000, max: 36_000_000 } };
  const tab = await page(t, "jane", { options: hours });
  await opened(tab);
  await gateway.kill();
  await waiting(tab);
  await tab.context().setOffline(true);
  await gateway.start();
  assert.equal(await tab.evaluate(() => wire.state), "waiting");
  await tab.context().setOffline(false);
  await opened(tab, 2);
  await proveWithPush(tab, { user: "jane" });
});

test("it tries at once when the page is looked at again", async (t) => {
  const hours = { backoff: { base: 36_000_000, max: 36_000_000 } };
  const tab = await page(t, "kurt", { options: hours });
  await opened(tab);
  await gateway.kill();
  await waiting(tab);
  await gateway.start();
  // Headless pages are always in sight; the event is what a page that comes back into sight gets.
  await tab.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await opened(tab, 2);
});

test("it waits through 503s, which a page sees as 1006", async (t) => {
  await gateway.stop();
  gateway = await Gateway.start({ "server.connections_max": "1" });
  const first = await page(t, "lena");
  await opened(first);
  const second = await page(t, "maja");
  const { code } = await waiting(second);
  assert.equal(code, 1006);
  await first.evaluate(() => wire.close());
  await opened(second);
});
