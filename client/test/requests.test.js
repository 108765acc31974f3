// Requests, messages and pushes: what comes of them with a connection, without one, and when it is lost.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { LongwireError } from "../longwire.js";
import { World } from "./support/fake.js";
import { accept, acceptLogin, makeClient, openClient } from "./support/login.js";

let world;
beforeEach(() => (world = new World()));
afterEach(() => world.end());

// How a promise ended, as something to compare.
const outcome = (promise) => promise.then((body) => ({ body }), ({ name, code, status, path }) => ({ name, code, status, path }));
const sent = (socket) => socket.sent.map(({ path, body }) => [path, body]).filter(([path]) => path !== "connect");

test("a request resolves with the body of its own reply, in whatever order replies come", async () => {
  const { wire, socket } = await openClient(world);
  const first = wire.request("order/create", { sku: "a1" });
  const second = wire.request("order/list");
  const [a, b] = socket.sent.slice(1);
  assert.deepEqual([a.path, a.body, b.path, "body" in b], ["order/create", { sku: "a1" }, "order/list", false]);
  socket.say({ id: b.id, path: b.path, status: 200, body: [1] });
  socket.say({ id: a.id, path: a.path, status: 201, body: { order: 1 } });
  assert.deepEqual(await Promise.all([first, second]), [{ order: 1 }, [1]]);
  assert.equal(world.timers, 1); // the tick
  wire.close();
});

test("a refusal is an error with the gateway's code and status, or the service's status and body", async () => {
  const { wire, socket } = await openClient(world);
  const refused = wire.request("admin/x");
  socket.say({ id: socket.sent.at(-1).id, status: 403, error: { code: "path_forbidden", message: "not for you" } });
  const error = await refused.catch((error) => error);
  assert.ok(error instanceof LongwireError && error instanceof Error);
  assert.deepEqual(
    [error.name, error.code, error.status, error.path, error.message],
    ["LongwireError", "path_forbidden", 403, "admin/x", "not for you"],
  );
  const service = wire.request("order/create");
  socket.say({ id: socket.sent.at(-1).id, status: 422, body: { missing: "sku" } });
  await assert.rejects(service, { code: "refused", status: 422, body: { missing: "sku" }, message: "order/create: status 422" });
  wire.close();
});

test("a request that nobody answers fails after its time-out, and a late reply is nothing", async () => {
  const { wire, socket } = await openClient(world);
  const quick = outcome(wire.request("a", null, { timeout: 1_000 }));
  const normal = outcome(wire.request("b"));
  const patient = wire.request("c", null, { timeout: Infinity });
  const ids = socket.sent.slice(1).map(({ id }) => id);
  await world.pass(999);
  assert.equal(world.timers, 3);
  await world.pass(1);
  assert.deepEqual(await quick, { name: "LongwireError", code: "timeout", status: undefined, path: "a" });
  await world.pass(14_000);
  assert.equal((await normal).code, "timeout");
  for (const id of ids) socket.say({ id, status: 200, body: "late" });
  assert.equal(await patient, "late");
  wire.close();
});

test("what is under way when the connection is lost fails, but for what may be sent again", async () => {
  const { wire, socket } = await openClient(world);
  const lost = outcome(wire.request("pay", { amount: 1 }));
  const again = wire.request("order/list", { open: true }, { resend: true });
  wire.send("seen", 1);
  socket.end(1006);
  assert.deepEqual(await lost, { name: "LongwireError", code: "connection_lost", status: undefined, path: "pay" });
  const later = wire.request("later");
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(sent(next), [["order/list", { open: true }], ["later", undefined]]);
  for (const { id } of next.sent.slice(1)) next.say({ id, status: 200, body: id });
  assert.equal(typeof (await again), "number");
  await later;
  wire.close();
});

test("what may have been the client's own fault is not sent again", async () => {
  for (const code of [1002, 1003, 1007, 1008, 1009]) {
    const { wire, socket } = await openClient(world);
    const big = outcome(wire.request("big", null, { resend: true }));
    socket.end(code, "message is too big");
    assert.equal((await big).code, "connection_lost");
    await world.pass(500);
    assert.deepEqual(sent(await accept(world)), []);
    wire.close();
  }
});

test("what is to be sent again waits within the bound, the oldest first", async () => {
  const { wire, socket } = await openClient(world, { queue: 2 });
  const ends = ["a", "b", "c"].map((path) => outcome(wire.request(path, null, { resend: true })));
  socket.end();
  assert.equal((await ends[2]).code, "connection_lost");
  assert.throws(() => wire.send("d"), { code: "queue_full" });
  await world.pass(500);
  assert.deepEqual(sent(await accept(world)), [["a", null], ["b", null]]);
  wire.close();
});

test("an option that is undefined is none", async () => {
  const options = { timeout: undefined, queue: undefined, topics: undefined, device: undefined, backoff: { base: undefined } };
  const { wire, states, socket } = await openClient(world, options);
  const request = outcome(wire.request("a", null, { timeout: undefined }));
  await world.pass(15_000);
  assert.equal((await request).code, "timeout");
  socket.end();
  assert.equal(states.at(-1).waitMs, 500);
  wire.send("waits");
  wire.close();
});

test("what is to be sent again still has its time-out", async () => {
  const { wire, socket } = await openClient(world);
  const again = outcome(wire.request("a", null, { resend: true, timeout: 5_000 }));
  socket.end(1012, "retry_ms=20000");
  await world.pass(5_000);
  assert.equal((await again).code, "timeout");
  await world.pass(15_000);
  assert.deepEqual(sent(await accept(world)), []);
  wire.close();
});

test("without a connection, messages and requests wait in their order, up to the bound", async () => {
  const { wire } = makeClient(world, { queue: 3 });
  wire.send("a", 1); // before connect() too
  wire.connect();
  const b = wire.request("b");
  wire.send("c");
  assert.throws(() => wire.send("d"), { name: "LongwireError", code: "queue_full", path: "d" });
  await assert.rejects(wire.request("e"), { code: "queue_full" });
  await world.pass(0);
  const socket = await accept(world);
  assert.deepEqual(sent(socket), [["a", 1], ["b", undefined], ["c", undefined]]);
  assert.deepEqual(["id" in socket.sent[1], "id" in socket.sent[2]], [false, true]);
  socket.say({ id: socket.sent[2].id, status: 200, body: {} });
  await b;
  wire.close();
});

test("what waits is as it was when it was sent", async () => {
  const { wire } = makeClient(world);
  const body = { n: 1 };
  wire.send("a", body);
  body.n = 2;
  wire.connect();
  await world.pass(0);
  assert.deepEqual(sent(await accept(world)), [["a", { n: 1 }]]);
  wire.close();
});

test("whoever will not wait is refused at once", async () => {
  for (const [options, how] of [[{ queue: 0 }, {}], [{}, { queue: false }]]) {
    const { wire } = makeClient(world, options);
    assert.throws(() => wire.send("a", 1, how), { code: "offline" });
    await assert.rejects(wire.request("a", 1, how), { code: "offline" });
    wire.connect();
    await world.pass(0);
    await accept(world);
    wire.send("b", 1, how);
    assert.deepEqual(sent(world.socket), [["b", 1]]);
    wire.close();
  }
});

test("a socket that is closing is no connection any more", async () => {
  const { wire, socket } = await openClient(world);
  socket.readyState = 2;
  wire.send("a", 1);
  assert.deepEqual(sent(socket), []);
  socket.end(1012, "retry_ms=5");
  await world.pass(5);
  assert.deepEqual(sent(await accept(world)), [["a", 1]]);
  wire.close();
});

test("a socket that closes as its login is answered takes nothing of what waits", async () => {
  const { wire } = makeClient(world);
  wire.connect();
  wire.send("a", 1);
  await world.pass(0);
  const { socket } = world;
  socket.open();
  const login = acceptLogin(world);
  socket.readyState = 2;
  await login;
  assert.deepEqual(sent(socket), []);
  socket.end(1012, "retry_ms=5");
  await world.pass(500);
  assert.deepEqual(sent(await accept(world)), [["a", 1]]);
  wire.close();
});

test("close() fails whatever waits", async () => {
  const { wire, socket } = await openClient(world);
  const underWay = outcome(wire.request("a"));
  const again = outcome(wire.request("b", null, { resend: true }));
  socket.readyState = 2;
  const queued = outcome(wire.request("c"));
  wire.close();
  assert.deepEqual((await Promise.all([underWay, again, queued])).map(({ code }) => code), ["closed", "closed", "closed"]);
  assert.throws(() => wire.send("d"), { code: "closed", message: "the client is closed: client" });
  assert.equal(world.timers, 0);
});

test("a path that the gateway could only refuse is refused before", async () => {
  const { wire, socket } = await openClient(world);
  for (const path of ["", "/a", "a/", "a//b", "a b", "a.b", "ä", "a".repeat(257), 7.5, undefined, null])
    assert.throws(() => wire.send(path), { code: "bad_path" }, String(path));
  await assert.rejects(wire.request("a//b"), { code: "bad_path" });
  for (const path of ["a", "a/b_c-D/9", "a".repeat(256)]) wire.send(path);
  assert.equal(sent(socket).length, 3);
  wire.close();
});

test("a body that is no JSON fails where it is sent", async () => {
  const { wire } = await openClient(world);
  const loop = {};
  loop.loop = loop;
  assert.throws(() => wire.send("a", loop), TypeError);
  await assert.rejects(wire.request("a", loop), TypeError);
  wire.close();
});

test("pushes go to whoever asked for their path, exactly or by its beginning", async () => {
  const { wire, socket } = await openClient(world);
  const got = [];
  wire.on("order/paid", (body, push) => got.push(["exact", body, push.topic]));
  wire.on("order/*", (body) => got.push(["some", body]));
  const off = wire.on("*", (body, { path }) => got.push(["all", path]));
  socket.say({ path: "order/paid", topic: "shop.1", body: 1 });
  socket.say({ path: "order", body: 2 });
  off();
  socket.say({ path: "order/paid/late", body: 3 });
  assert.deepEqual(got, [["exact", 1, "shop.1"], ["some", 1], ["all", "order/paid"], ["all", "order"], ["some", 3]]);
  wire.close();
});

test("what is no message harms nobody", async () => {
  const { wire, socket } = await openClient(world);
  const got = [];
  wire.on("*", (body) => got.push(body));
  for (const text of ["", "{", "null", "7", '"x"', "[]", "{}", '{"path":7}', '{"id":null,"status":400,"error":{}}', '{"id":99,"status":200}'])
    socket.say(text);
  socket.say({ path: "a", body: "well" });
  assert.deepEqual(got, ["well"]);
  wire.close();
});

test("pushes that come before the login is through are heard after it", async () => {
  const { wire, states } = makeClient(world, { topics: ["a"] });
  const got = [];
  wire.on("*", (body) => got.push([wire.state, states.at(-1).state, body]));
  wire.connect();
  await world.pass(0);
  const { socket } = world;
  socket.open();
  const { id } = socket.sent.at(-1);
  socket.say({ id, path: "connect", status: 200, body: { user: "anna", expires_at: null, ping_ms: 25_000 } });
  socket.say({ path: "early", topic: "a", body: 1 });
  assert.deepEqual(got, []);
  await world.pass(0);
  socket.say({ path: "late", topic: "a", body: 2 });
  assert.deepEqual(got, [["open", "open", 1], ["open", "open", 2]]);
  wire.close();
});

test("a handler that throws keeps nobody else from the push", async () => {
  const { wire, socket } = await openClient(world);
  const got = [];
  wire.on("a", () => {
    throw new Error("mine");
  });
  wire.on("a", (body) => got.push(body));
  socket.say({ path: "a", body: 1 });
  assert.deepEqual(got, [1]);
  await assert.rejects(world.pass(0), /mine/);
  wire.close();
});
