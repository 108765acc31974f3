// When a token is asked for, why, and what becomes of one that is refused.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { FakeSocket, World, fakeToken } from "./support/fake.js";
import { Longwire } from "../longwire.js";
import { accept, acceptLogin, makeClient, openClient, refuse } from "./support/login.js";

let world;
beforeEach(() => (world = new World()));
afterEach(() => world.end());

const seconds = () => world.nowMs / 1000;
const last = (states) => states.at(-1);

test("a token that is good serves the next connection too", async () => {
  const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  world.socket.end();
  await world.pass(500);
  await accept(world);
  assert.deepEqual(asked, ["first"]);
  assert.equal(world.sockets[1].sent[0].token, world.sockets[0].sent[0].token);
  wire.close();
});

test("it is renewed on the same connection when four fifths of it are over", async () => {
  const { wire, asked, socket } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(2_879_000);
  assert.deepEqual(asked, ["first"]);
  await world.pass(1_000);
  assert.deepEqual(asked, ["first", "expiring"]);
  assert.equal(socket.sent.at(-1).path, "connect");
  assert.notEqual(socket.sent.at(-1).token, socket.sent[0].token);
  await acceptLogin(world, { expires_at: seconds() + 3600 });
  await world.pass(2_880_000);
  assert.equal(asked.length, 3);
  assert.equal(world.sockets.length, 1);
  wire.close();
});

test("one of a few seconds is renewed before its end, however the ticks lie", async () => {
  for (const lifeMs of [3_100, 3_700, 3_990, 4_700]) {
    const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + lifeMs / 1000 });
    await world.pass(lifeMs - 900);
    assert.deepEqual(asked, ["first", "expiring"], `${lifeMs} ms`);
    wire.close();
    await world.pass(10_000);
  }
});

test("a token without an end is kept", async () => {
  const { wire, asked } = await openClient(world);
  await world.pass(1_000);
  assert.deepEqual(asked, ["first"]);
  wire.close();
});

for (const hours of [-9, -1.01, 1.01, 9]) {
  test(`a clock that is ${hours} h wrong changes nothing`, async () => {
    world.skewMs = hours * 3_600_000;
    const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
    await world.pass(2_879_000);
    assert.deepEqual(asked, ["first"]);
    await world.pass(1_000);
    assert.deepEqual(asked, ["first", "expiring"]);
    wire.close();
  });
}

test("a clock that is wrong by almost a token's life makes a renewal in 15 s, not one after the other", async () => {
  world.skewMs = 3_599_000;
  const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  for (let n = 0; n < 4; n++) {
    await world.pass(15_000);
    await acceptLogin(world, { expires_at: seconds() + 3600 });
  }
  assert.equal(asked.length, 5);
  wire.close();
});

test("a token that the page had kept for a while is renewed in time", async () => {
  const end = seconds() + 600;
  const token = () => fakeToken({ sub: "anna", iat: end - 3600, exp: end });
  const asked = [];
  const { wire } = await openClient(world, { token: (why) => (asked.push(why), token()) }, { expires_at: end });
  await world.pass(480_000);
  assert.deepEqual(asked, ["first", "expiring"]);
  wire.close();
});

test("a renewal that fails is tried again, sooner and sooner, and the connection stays", async () => {
  const end = seconds() + 1_000;
  const atS = [];
  const began = seconds();
  const token = () => {
    if (atS.push(seconds() - began) > 1) throw new Error("backend is down");
    return fakeToken({ sub: "anna", iat: began, exp: end });
  };
  const { wire } = await openClient(world, { token }, { expires_at: end });
  for (let n = 0; n < 1_000; n++) {
    await world.pass(1_000);
    world.socket.say({ path: "tick" });
  }
  assert.deepEqual(atS.slice(0, 7), [0, 800, 900, 950, 975, 988, 994]);
  assert.ok(atS.length < 10, String(atS));
  assert.equal(wire.state, "open");
  world.socket.end(4410, "token_expired");
  assert.equal(wire.state, "waiting");
  wire.close();
});

test("an old token that is refused is followed by a fresh one, on the same connection", async () => {
  const { wire, asked } = await openClient(world);
  world.socket.end();
  await world.pass(500);
  world.socket.open();
  await refuse(world, 401, "token_invalid");
  assert.deepEqual(asked, ["first", "refused"]);
  await acceptLogin(world);
  assert.equal(wire.state, "open");
  wire.close();
});

for (const code of ["token_invalid", "token_expired", "token_missing"]) {
  test(`a fresh token that is refused with ${code} ends it`, async () => {
    const { wire, states, asked } = makeClient(world);
    const ready = wire.connect();
    await world.pass(0);
    world.socket.open();
    await refuse(world, 401, code); // the page may have kept it
    await refuse(world, 401, code); // this one was fresh
    assert.deepEqual(last(states), { state: "closed", status: 401, reason: code });
    await assert.rejects(ready, { code: "closed" });
    await world.pass(3_600_000);
    assert.deepEqual([asked, world.sockets.length], [["first", "refused"], 1]);
    // Once the user has logged in anew:
    wire.connect();
    await world.pass(0);
    await accept(world);
    assert.deepEqual([wire.state, asked], ["open", ["first", "refused", "refused"]]);
    wire.close();
  });
}

test("a token from a clock that is ahead is given time, but not for ever", async () => {
  const { wire, states, asked } = makeClient(world);
  wire.connect();
  await world.pass(0);
  for (let n = 0; n < 5; n++) {
    world.socket.open();
    await refuse(world, 401, "token_not_yet_valid");
    assert.equal(last(states).state, "waiting");
    await world.pass(last(states).waitMs);
  }
  assert.deepEqual(asked, ["first"]);
  world.socket.open();
  await refuse(world, 401, "token_not_yet_valid");
  assert.deepEqual(asked, ["first", "refused"]);
  await refuse(world, 401, "token_not_yet_valid");
  assert.deepEqual(last(states), { state: "closed", status: 401, reason: "token_not_yet_valid" });
});

test("4401 and 4410 ask for a fresh token", async () => {
  for (const [code, why] of [[4401, "refused"], [4410, "expiring"]]) {
    const { wire, asked } = await openClient(world);
    world.socket.end(code);
    await world.pass(500);
    assert.deepEqual(asked, ["first", why]);
    wire.close();
  }
});

test("a fresh token is asked when the old one ran out while there was no connection", async () => {
  const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(10_000);
  await world.sleep(3_600_000);
  world.socket.end();
  await world.pass(1_000);
  assert.deepEqual(asked, ["first", "expiring"]);
  wire.close();
});

test("a backend that is out of reach is asked again after a wait", async () => {
  let down = true;
  const token = () => (down ? Promise.reject(new Error("fetch failed")) : fakeToken({}));
  const { wire, states } = makeClient(world, { token });
  wire.connect();
  await world.pass(0);
  assert.deepEqual(last(states), { state: "waiting", reason: "no token: fetch failed", waitMs: 500 });
  assert.equal(world.sockets.length, 0);
  down = false;
  await world.pass(500);
  await accept(world);
  assert.equal(wire.state, "open");
  wire.close();
});

test("a kept token that has expired is followed by a fresh one", async () => {
  const { wire, asked } = makeClient(world);
  wire.connect();
  await world.pass(0);
  world.socket.open();
  await refuse(world, 401, "token_expired");
  assert.deepEqual(asked, ["first", "refused"]);
  await acceptLogin(world);
  assert.deepEqual([wire.state, world.sockets.length], ["open", 1]);
  wire.close();
});

test("an error page is no token: the backend is asked again after a wait", async () => {
  for (const page of ["<html>502 Bad Gateway</html>", "a.b", "a.b.c.d", "not found", { token: "a.b.c" }, 7]) {
    const { wire, states } = makeClient(world, { token: async () => page });
    const before = world.sockets.length;
    wire.connect();
    await world.pass(0);
    assert.deepEqual(last(states), { state: "waiting", reason: "no token: token() gave something that is no JWT", waitMs: 500 });
    assert.equal(world.sockets.length, before);
    wire.close();
  }
});

test("an error page in place of a renewed token leaves the connection", async () => {
  const token = (why) => (why === "first" ? fakeToken({ iat: seconds(), exp: seconds() + 100 }) : "<html>502</html>");
  const { wire, socket } = await openClient(world, { token }, { expires_at: seconds() + 100 });
  await world.pass(90_000);
  assert.deepEqual([wire.state, socket.sent.filter(({ path }) => path === "connect").length], ["open", 1]);
  wire.close();
});

test("a refused token is not shown again, though no other is to be had yet", async () => {
  let away = false;
  const token = () => {
    if (away) throw new Error("no route");
    return fakeToken({ sub: "anna" });
  };
  const { wire } = await openClient(world, { token });
  away = true;
  world.socket.end();
  await world.pass(500);
  world.socket.open();
  await refuse(world, 401, "token_invalid");
  assert.equal(wire.state, "waiting");
  await world.pass(60_000);
  assert.equal(world.sockets.length, 2);
  wire.close();
});

test("nor is one that was refused when it was to renew", async () => {
  const { wire, socket, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(2_880_000);
  await refuse(world, 401, "token_invalid");
  const { token } = socket.sent.at(-1);
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.notEqual(next.sent[0].token, token);
  assert.equal(asked.length, 3);
  wire.close();
});

test("after close() another user may connect", async () => {
  let user = "anna";
  const asked = [];
  const token = (why) => (asked.push(why), fakeToken({ sub: user }));
  const { wire } = await openClient(world, { token });
  wire.close();
  user = "bert";
  wire.connect();
  await world.pass(0);
  const socket = await accept(world);
  assert.equal(socket.sent[0].token, fakeToken({ sub: "bert" }));
  assert.deepEqual(asked, ["first", "first"]);
  wire.close();
});

test("close() does not wait for a token that never comes", async () => {
  const first = makeClient(world, { token: () => new Promise(() => {}) }).wire;
  first.connect();
  await world.pass(0);
  first.close();
  assert.equal(world.timers, 0);
  let hangs = false;
  const token = () => (hangs ? new Promise(() => {}) : fakeToken({ sub: "anna" }));
  const { wire } = await openClient(world, { token }, { expires_at: seconds() + 100 });
  hangs = true;
  await world.pass(80_000);
  wire.close();
  assert.equal(world.timers, 0);
});

test("a fresh token that ran out on the way to its login is followed by another", async () => {
  const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  world.socket.end(4410, "token_expired");
  await world.pass(500);
  assert.equal(asked.length, 2);
  await world.sleep(7_200_000); // as the socket opened
  world.socket.open();
  await refuse(world, 401, "token_expired");
  assert.deepEqual(asked, ["first", "expiring", "refused"]);
  await acceptLogin(world);
  assert.equal(wire.state, "open");
  wire.close();
});

test("a clock that is set back delays no renewal", async () => {
  const { wire, asked } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(10_000);
  world.skewMs = -7_200_000;
  await world.pass(2_880_000);
  assert.deepEqual(asked, ["first", "expiring"]);
  wire.close();
});

test("white space around a token is none of it", async () => {
  const jwt = fakeToken({ sub: "anna" });
  const { wire, socket } = await openClient(world, { token: () => ` ${jwt}\n` });
  assert.equal(socket.sent[0].token, jwt);
  wire.close();
});

test("a token that never comes is not waited for for ever", async () => {
  const { wire, states } = makeClient(world, { token: () => new Promise(() => {}) });
  wire.connect();
  await world.pass(30_000);
  assert.equal(states[1].reason, "no token: token() takes too long");
  wire.close();
  await world.pass(30_000);
  assert.equal(world.timers, 0);
});

test("no token means that nobody is logged in: it is over", async () => {
  for (const nothing of [null, undefined, "", "\n"]) {
    const { wire, states } = makeClient(world, { token: async () => nothing });
    await assert.rejects(wire.connect(), { code: "closed" });
    assert.deepEqual(last(states), { state: "closed", reason: "no_token" });
  }
});

test("a renewal with another user's token ends it", async () => {
  const { states } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(2_880_000);
  await refuse(world, 403, "user_mismatch");
  assert.deepEqual(last(states), { state: "closed", status: 403, reason: "user_mismatch" });
});

test("a renewal that is refused leaves the connection, and after its end a refused fresh token is final", async () => {
  const { wire, states } = await openClient(world, {}, { expires_at: seconds() + 3600 });
  await world.pass(2_880_000);
  await refuse(world, 401, "token_invalid");
  assert.equal(wire.state, "open");
  world.socket.end(4410, "token_expired");
  await world.pass(500);
  world.socket.open();
  await refuse(world, 401, "token_invalid");
  assert.equal(last(states).state, "closed");
});

test("what is missing is said when the client is made", () => {
  assert.throws(() => new Longwire("wss://a/ws"), { name: "TypeError", message: /token must be a function/ });
  assert.throws(() => new Longwire("wss://a/ws", { token: "t" }), /token must be a function/);
  assert.throws(() => new Longwire("wss://a/ws", { token: () => "t", WebSocket: null }), /pass \{ WebSocket \}/);
  for (const device of ["x".repeat(65), "ä".repeat(33)])
    assert.throws(() => new Longwire("wss://a/ws", { token: () => "t", WebSocket: FakeSocket, device }), /64 bytes/);
  assert.ok(new Longwire("wss://a/ws", { token: () => "t", WebSocket: FakeSocket, device: "ä".repeat(32) }));
});
