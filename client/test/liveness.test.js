// How a dead connection is noticed, and what happens when the machine wakes or the network comes back.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { World } from "./support/fake.js";
import { accept, openClient } from "./support/login.js";

let world;
beforeEach(() => (world = new World({ document: true, answersPings: false })));
afterEach(() => world.end());

const pings = () => world.socket.sent.filter(({ path }) => path === "ping").length;

async function answerPing() {
  world.socket.say({ id: world.socket.sent.at(-1).id, path: "ping", status: 200, body: {} });
  await world.pass(0);
}

test("silence for ping_ms makes a ping, and its answer lets the connection be", async () => {
  const { wire } = await openClient(world);
  await world.pass(24_000);
  assert.equal(pings(), 0);
  for (const n of [1, 2, 3]) {
    await world.pass(n === 1 ? 1_000 : 25_000);
    assert.equal(pings(), n);
    await answerPing();
  }
  assert.equal(wire.state, "open");
  wire.close();
});

test("whatever comes is a sign of life", async () => {
  const { wire, socket } = await openClient(world);
  for (let n = 0; n < 20; n++) {
    await world.pass(20_000);
    socket.say({ path: "tick" });
  }
  assert.equal(pings(), 0);
  await world.pass(25_000);
  await world.pass(9_000);
  socket.say({ path: "tick" }); // not the ping's answer, and as good
  await world.pass(9_000);
  assert.equal(wire.state, "open");
  wire.close();
});

test("silence after the ping is the end, and the client comes back", async () => {
  const { wire, states, socket } = await openClient(world);
  await world.pass(34_999);
  assert.equal(wire.state, "open");
  await world.pass(1);
  assert.deepEqual(states.at(-1), { state: "waiting", code: 1006, reason: "no sign of life", waitMs: 500 });
  assert.equal(socket.closedWith, 1000);
  await world.pass(500);
  await accept(world);
  assert.equal(wire.state, "open");
  wire.close();
});

test("after sleep the connection is asked at once, and soon given up", async () => {
  const { wire } = await openClient(world);
  await world.sleep(3_600_000);
  await world.pass(1_000);
  assert.equal(pings(), 1);
  await world.pass(5_000);
  assert.equal(wire.state, "waiting");
  wire.close();
});

test("a clock that is set back hides no dead connection", async () => {
  const { wire } = await openClient(world);
  await world.pass(10_000);
  world.skewMs = -7_200_000;
  await world.pass(16_000);
  assert.equal(pings(), 1);
  await world.pass(10_000);
  assert.equal(wire.state, "waiting");
  wire.close();
});

test("a clock that is set back makes no wait longer", async () => {
  const { wire, socket } = await openClient(world);
  socket.end(1012, "retry_ms=5000");
  world.skewMs = -7_200_000;
  world.happens("online");
  await world.pass(5_000);
  assert.equal(world.sockets.length, 2);
  wire.close();
});

for (const event of ["online", "visibilitychange"]) {
  test(`${event} ends a wait that the client chose`, async () => {
    const { wire } = await openClient(world);
    world.die = 0.999;
    world.socket.end();
    world.happens(event);
    await world.pass(0);
    assert.equal(world.sockets.length, 2);
    await accept(world);
    await world.pass(20_000);
    assert.equal(world.sockets.length, 2); // the wait that was ended does not come back
    wire.close();
  });

  test(`${event} asks a connection for a sign of life, once`, async () => {
    const { wire } = await openClient(world);
    world.happens(event);
    world.happens(event);
    assert.equal(pings(), 1);
    await world.pass(4_999);
    assert.equal(wire.state, "open");
    await world.pass(1);
    assert.equal(wire.state, "waiting");
    wire.close();
  });

  test(`${event} does not end a wait that the gateway chose, unless its time is over`, async () => {
    const { wire } = await openClient(world);
    world.socket.end(1012, "retry_ms=60000");
    world.happens(event);
    await world.pass(1_000);
    assert.equal(world.sockets.length, 1);
    await world.sleep(3_600_000);
    world.happens(event);
    await world.pass(0);
    assert.equal(world.sockets.length, 2);
    wire.close();
  });
}

test("a tab that goes into the background wakes nothing", async () => {
  const { wire } = await openClient(world);
  document.visibilityState = "hidden";
  world.happens("visibilitychange");
  assert.equal(pings(), 0);
  world.socket.end();
  world.happens("visibilitychange");
  await world.pass(0);
  assert.equal(world.sockets.length, 1);
  wire.close();
});

test("waking from sleep ends a wait, at the first tick", async () => {
  const { wire } = await openClient(world);
  for (let n = 0; n < 6; n++) {
    world.socket.end();
    if (n < 5) await world.pass(16_000);
  }
  assert.equal(wire.state, "waiting");
  const before = world.sockets.length;
  await world.sleep(3_600_000);
  await world.pass(1_000);
  assert.equal(world.sockets.length, before + 1);
  wire.close();
});

test("the slow timers of a hidden tab are not sleep", async () => {
  const { wire } = await openClient(world);
  for (let n = 0; n < 6; n++) {
    world.socket.end();
    if (n < 5) await world.pass(16_000);
  }
  document.visibilityState = "hidden";
  const before = world.sockets.length;
  await world.sleep(59_000);
  await world.pass(1_000);
  assert.deepEqual([wire.state, world.sockets.length], ["waiting", before]);
  wire.close();
});

test("in a hidden tab a dead connection is noticed all the same", async () => {
  const { wire } = await openClient(world);
  document.visibilityState = "hidden";
  await world.sleep(59_000);
  await world.pass(1_000);
  assert.equal(pings(), 1);
  await world.pass(10_000);
  assert.equal(wire.state, "waiting");
  wire.close();
});
