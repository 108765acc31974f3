// When the client comes back after a loss, and when it does not.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { World } from "./support/fake.js";
import { accept, makeClient, openClient, refuse } from "./support/login.js";

let world;
beforeEach(() => (world = new World()));
afterEach(() => world.end());

const last = (states) => states.at(-1);

test("it logs in with its token, device and topics, and says so", async () => {
  const { wire, states } = makeClient(world, { device: "phone", topics: ["room.42"] });
  const ready = wire.connect();
  await world.pass(0);
  const socket = await accept(world);
  assert.equal(socket.protocol, "longwire.v1");
  const { path, token, body } = socket.sent[0];
  assert.deepEqual([path, body], ["connect", { device: "phone", topics: ["room.42"] }]);
  assert.match(token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.equal((await ready).user, "anna");
  assert.deepEqual([wire.state, wire.session.connection], ["open", "c1"]);
  assert.deepEqual(states.map(({ state }) => state), ["connecting", "open"]);
  wire.close();
});

test("the back-off doubles up to its bound, with a random part of all of it", async () => {
  const { wire, states } = makeClient(world);
  wire.connect();
  await world.pass(0);
  const waits = [];
  for (let n = 0; n < 8; n++) {
    world.die = n % 2 ? 0.5 : 0.999;
    world.socket.end();
    waits.push(last(states).waitMs);
    await world.pass(last(states).waitMs);
    assert.equal(world.sockets.length, n + 2);
  }
  assert.deepEqual(waits, [999, 1_000, 3_996, 4_000, 15_984, 15_000, 29_970, 15_000]);
  wire.close();
});

test("a connection proves itself by a clock that is set back, too", async () => {
  const { wire, states } = await openClient(world);
  world.socket.end();
  await world.pass(500);
  await accept(world);
  world.skewMs = -7_200_000;
  await world.pass(12_000);
  world.socket.end();
  assert.equal(last(states).waitMs, 500);
  wire.close();
});

test("a connection that breaks right after its login backs off on, one that held starts anew", async () => {
  const { wire, states } = await openClient(world);
  for (const waitMs of [500, 1_000, 2_000]) {
    await world.pass(9_000);
    world.socket.end();
    assert.equal(last(states).waitMs, waitMs);
    await world.pass(waitMs);
    await accept(world);
  }
  await world.pass(11_000);
  world.socket.end();
  assert.equal(last(states).waitMs, 500);
  wire.close();
});

test("retry_ms is obeyed to the millisecond", async () => {
  for (const code of [1012, 1013]) {
    const { wire, states } = await openClient(world);
    const before = world.sockets.length;
    world.socket.end(code, "retry_ms=7345");
    assert.deepEqual(last(states), { state: "waiting", code, reason: "retry_ms=7345", waitMs: 7_345 });
    await world.pass(7_344);
    assert.equal(world.sockets.length, before);
    await world.pass(1);
    assert.equal(world.sockets.length, before + 1);
    wire.close();
  }
});

test("told the same moment again and again, an unproved connection backs off all the same", async () => {
  const { wire, states } = await openClient(world);
  const waits = [];
  for (let n = 0; n < 6; n++) {
    world.socket.end(1013, "retry_ms=0");
    const { waitMs } = states.findLast(({ state }) => state === "waiting");
    waits.push(waitMs);
    await world.pass(waitMs);
    await accept(world);
  }
  assert.deepEqual(waits, [0, 1_000, 2_000, 4_000, 8_000, 15_000]);
  wire.close();
});

test("a retry_ms beyond belief is cut, and spread, so that a crowd does not come back at once", async () => {
  for (const told of ["1200001", "99999999999", "9".repeat(400)]) {
    const { wire, states } = await openClient(world);
    world.socket.end(1012, `retry_ms=${told}`);
    assert.equal(last(states).waitMs, 600_000);
    wire.close();
  }
});

test("a reason that is no retry_ms is none", async () => {
  for (const reason of ["retry_ms=", "retry_ms=-5", "retry_ms=1e9", "please retry_ms=5", "retry_ms=5 or so"]) {
    const { wire, states } = await openClient(world);
    world.socket.end(1012, reason);
    assert.equal(last(states).waitMs, 500, reason);
    wire.close();
  }
});

test("codes that can heal are come back from", async () => {
  for (const code of [1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 4408, 4410, 4413, 4429]) {
    const { wire, states } = await openClient(world);
    world.socket.end(code);
    assert.equal(last(states).state, "waiting", String(code));
    await world.pass(1_000);
    assert.equal(wire.state, "connecting");
    wire.close();
  }
});

test("final codes are not, and nothing of the client is left", async () => {
  for (const [code, reason] of [[1000, ""], [4403, "kicked"], [4409, "session_policy"], [3000, "mine"], [4999, ""]]) {
    const { wire, states } = await openClient(world);
    const before = world.sockets.length;
    world.socket.end(code, reason);
    assert.deepEqual(last(states), { state: "closed", code, reason });
    assert.deepEqual([world.timers, world.listeners], [0, []]);
    await world.pass(3_600_000);
    assert.equal(world.sockets.length, before);
    await assert.rejects(wire.request("a"), { code: "closed" });
  }
});

test("a login that the session policy refuses is final, before its close frame and after", async () => {
  const { wire, states } = makeClient(world);
  const ready = wire.connect();
  await world.pass(0);
  const { socket } = world;
  socket.open();
  await refuse(world, 409, "too_many_connections");
  socket.end(4409, "session_policy");
  await assert.rejects(ready, { name: "LongwireError", code: "closed" });
  assert.deepEqual(last(states), { state: "closed", code: 4409, status: 409, reason: "too_many_connections" });
});

test("a login that comes at a bad moment is tried again", async () => {
  for (const [status, code] of [[429, "rate_limited"], [503, "overloaded"]]) {
    const { wire, states } = makeClient(world);
    wire.connect();
    await world.pass(0);
    world.socket.open();
    await refuse(world, status, code);
    assert.deepEqual(last(states), { state: "waiting", status, reason: code, waitMs: 500 });
    assert.equal(world.socket.closedWith, 1000);
    wire.close();
  }
});

test("a login that can never be right is final", async () => {
  const { wire, states } = makeClient(world, { device: "phone" });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  await refuse(world, 400, "bad_message");
  assert.deepEqual(last(states), { state: "closed", status: 400, reason: "bad_message" });
});

test("an attempt that nobody answers is given up", async () => {
  const { wire, states } = makeClient(world);
  wire.connect();
  await world.pass(0);
  await world.pass(14_999); // the socket never opens
  assert.equal(wire.state, "connecting");
  await world.pass(1);
  assert.deepEqual(last(states), { state: "waiting", code: 1006, reason: "no answer", waitMs: 500 });
  await world.pass(500);
  world.socket.open(); // it opens, and the login is not answered
  await world.pass(15_000);
  assert.equal(last(states).reason, "no answer");
  wire.close();
});

test("what a socket says after it was given up changes nothing", async () => {
  const { wire, states } = makeClient(world);
  wire.connect();
  await world.pass(15_000);
  const old = world.socket;
  await world.pass(500);
  await accept(world);
  const before = states.length;
  old.open();
  old.say({ path: "news" });
  old.end(4403, "kicked");
  assert.deepEqual([wire.state, states.length, old.sent.length], ["open", before, 0]);
  wire.close();
});

test("a URL that is none ends it with a reason", async () => {
  const { Longwire } = await import("../longwire.js");
  const { FakeSocket } = await import("./support/fake.js");
  const wire = new Longwire("nonsense", { token: () => "a.b.c", WebSocket: FakeSocket });
  await assert.rejects(wire.connect(), /the URL is invalid/);
  assert.equal(wire.state, "closed");
});

test("close() as the first attempt begins asks for no token", async () => {
  const { wire, asked } = makeClient(world);
  wire.onState(({ state }) => state === "connecting" && wire.close());
  await assert.rejects(wire.connect(), { code: "closed" });
  assert.deepEqual([asked, world.timers], [[], 0]);
});

test("close() ends it, whatever it is doing, and connect() begins anew", async () => {
  const { wire, states } = await openClient(world);
  wire.close();
  wire.close();
  assert.deepEqual(last(states), { state: "closed", code: 1000, reason: "client" });
  assert.equal(world.socket.closedWith, 1000);
  assert.deepEqual([world.timers, wire.session], [0, null]);
  const ready = wire.connect();
  await world.pass(0);
  await accept(world, { connection: "c2" });
  assert.equal((await ready).connection, "c2");
  world.socket.end();
  wire.close(); // while it waits
  assert.equal(world.timers, 0);
  wire.connect();
  await world.pass(0);
  wire.close(); // while its socket opens
  await world.pass(60_000);
  assert.deepEqual([wire.state, world.sockets.length, world.timers], ["closed", 3, 0]);
  const other = makeClient(world).wire;
  other.connect();
  other.close(); // while it asks for a token
  await world.pass(60_000);
  assert.deepEqual([other.state, world.sockets.length, world.timers], ["closed", 3, 0]);
});

test("a watcher may close it, and one that throws stops nobody", async () => {
  const { wire, states } = await openClient(world);
  const off = wire.onState(() => {
    throw new Error("mine");
  });
  wire.onState(({ state }) => state === "waiting" && wire.close());
  world.socket.end();
  off();
  assert.deepEqual(states.slice(-2).map(({ state }) => state), ["waiting", "closed"]);
  assert.equal(wire.state, "closed");
  await assert.rejects(world.pass(0), /mine/); // the page hears of it, in a turn of its own
  await assert.rejects(world.pass(0), /mine/);
  await world.pass(60_000);
  assert.equal(world.sockets.length, 1);
});

test("what a watcher causes is told after what it was told", async () => {
  const { wire } = await openClient(world);
  const later = [];
  const off = wire.onState(({ state }) => state === "closed" && wire.connect());
  wire.onState(({ state }) => later.push(state));
  wire.close();
  off();
  await world.pass(0);
  await accept(world);
  wire.close();
  assert.deepEqual(later, ["closed", "connecting", "open", "closed"]);
});

test("a thousand clients that lose their node together come back spread over the whole wait", async () => {
  const tenths = new Array(10).fill(0);
  for (let n = 0; n < 1_000; n++) {
    const { wire, states } = makeClient(world);
    wire.connect();
    await world.pass(0);
    world.die = (n + 0.5) / 1_000;
    world.socket.end();
    tenths[Math.floor(last(states).waitMs / 100)]++;
    wire.close();
  }
  assert.deepEqual(tenths, new Array(10).fill(100));
});

test("connect() while it waits tries at once, unless the gateway chose the moment", async () => {
  const { wire } = await openClient(world);
  world.socket.end();
  wire.connect();
  await world.pass(0);
  assert.equal(world.sockets.length, 2);
  await accept(world);
  await world.pass(10_000);
  world.socket.end(1012, "retry_ms=9000");
  await world.pass(4_000);
  wire.connect();
  await world.pass(4_999);
  assert.equal(world.sockets.length, 2);
  await world.pass(1);
  assert.equal(world.sockets.length, 3);
  wire.close();
});
