// Subscriptions: they outlive connections, and one that is refused harms no other.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { World } from "./support/fake.js";
import { accept, acceptLogin, makeClient, openClient, refuse } from "./support/login.js";

let world;
beforeEach(() => (world = new World()));
afterEach(() => world.end());

async function answer(status = 200) {
  const { socket } = world;
  const { id, path, body } = socket.sent.at(-1);
  socket.say({ id, path, status, body: { topics: body.topics } });
  await world.pass(0);
}

test("subscribe and unsubscribe ask the gateway, and the next login has what is wanted", async () => {
  const { wire, socket } = await openClient(world, { topics: ["a"] });
  const more = wire.subscribe(["b", "c", "a"]);
  assert.deepEqual(socket.sent.at(-1).body, { topics: ["b", "c"] });
  await answer();
  await more;
  const less = wire.unsubscribe("a");
  assert.deepEqual([socket.sent.at(-1).path, socket.sent.at(-1).body], ["unsubscribe", { topics: ["a"] }]);
  await answer();
  await less;
  const before = socket.sent.length;
  await wire.subscribe("b"); // is there
  await wire.unsubscribe("z"); // never was
  assert.equal(socket.sent.length, before);
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(next.sent[0].body.topics, ["b", "c"]);
  assert.deepEqual(wire.topics, ["b", "c"]);
  wire.close();
});

test("a topic that is refused is not wanted any more", async () => {
  const { wire } = await openClient(world);
  const refused = assert.rejects(wire.subscribe("secret"), { code: "topic_forbidden", status: 403 });
  await refuse(world, 403, "topic_forbidden");
  await refused;
  assert.deepEqual(wire.topics, []);
  wire.close();
});

test("subscribe without a connection waits for the next login, however long", async () => {
  const { wire } = makeClient(world);
  let done = false;
  const early = wire.subscribe("a").then(() => (done = true));
  await world.pass(3_600_000);
  assert.equal(done, false);
  wire.connect();
  await world.pass(0);
  const socket = await accept(world);
  assert.deepEqual(socket.sent[0].body.topics, ["a"]);
  await early;
  assert.equal(socket.sent.length, 1);
  wire.close();
});

test("a connection that is lost before the answer makes no difference", async () => {
  const { wire, socket } = await openClient(world, { topics: ["old"] });
  const more = wire.subscribe("new");
  const less = wire.unsubscribe("old");
  socket.end();
  await world.pass(500);
  const next = await accept(world);
  assert.deepEqual(next.sent[0].body.topics, ["new"]);
  for (const { id } of next.sent.slice(1)) next.say({ id, status: 200, body: { topics: ["new"] } });
  await Promise.all([more, less]);
  wire.close();
});

test("what changes while the login is under way is made good before it counts", async () => {
  const { wire } = makeClient(world, { topics: ["a"] });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  const more = wire.subscribe("b");
  await wire.unsubscribe("a");
  await acceptLogin(world);
  assert.equal(wire.state, "connecting");
  assert.deepEqual([world.socket.sent.at(-1).path, world.socket.sent.at(-1).body.topics], ["subscribe", ["b"]]);
  await answer();
  assert.deepEqual([world.socket.sent.at(-1).path, world.socket.sent.at(-1).body.topics], ["unsubscribe", ["a"]]);
  await answer();
  assert.equal(wire.state, "open");
  await more;
  wire.close();
});

test("one topic that the token no longer covers costs that topic, not the login", async () => {
  const { wire, states } = makeClient(world, { topics: ["a", "secret", "b"] });
  const refused = assert.rejects(wire.subscribe("hidden"), { code: "topic_forbidden" });
  wire.connect();
  await world.pass(0);
  const { socket } = world;
  socket.open();
  await refuse(world, 403, "topic_forbidden");
  assert.deepEqual([socket.sent[1].path, socket.sent[1].body.topics], ["connect", []]);
  await acceptLogin(world);
  for (const [topic, status] of [["a", 200], ["secret", 403], ["b", 200], ["hidden", 403]]) {
    assert.deepEqual(socket.sent.at(-1).body.topics, [topic]);
    if (status === 200) await answer();
    else await refuse(world, 403, "topic_forbidden");
  }
  assert.equal(wire.state, "open");
  assert.deepEqual(Object.keys(states.at(-1).refused), ["secret", "hidden"]);
  assert.equal(states.at(-1).refused.secret.code, "topic_forbidden");
  await refused;
  assert.deepEqual(wire.topics, ["a", "b"]);
  wire.close();
});

test("a rate limit while topics are restored is a loss, and no topic is given up", async () => {
  const { wire } = makeClient(world, { topics: ["a", "b"] });
  wire.connect();
  await world.pass(0);
  world.socket.open();
  await refuse(world, 403, "too_many_topics");
  await acceptLogin(world);
  await refuse(world, 429, "rate_limited");
  assert.deepEqual([wire.state, wire.topics], ["waiting", ["a", "b"]]);
  wire.close();
});

test("close() ends the wait of a subscription, and of one that comes after it", async () => {
  const { wire } = makeClient(world);
  const early = wire.subscribe("a");
  wire.connect();
  await world.pass(0);
  wire.close();
  await assert.rejects(early, { code: "closed" });
  await assert.rejects(wire.subscribe("b"), { code: "closed" });
  await wire.unsubscribe("a");
  assert.deepEqual(wire.topics, []);
});
