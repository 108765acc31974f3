// How most unit tests begin: a client on fakes that has logged in.
import { Longwire } from "../../longwire.js";
import { FakeSocket, fakeToken } from "./fake.js";

export const URL_ = "wss://push.example.com/ws";

// A client whose states are kept in `states`, and whose tokens are counted in `asked`.
export function makeClient(world, options = {}) {
  const states = [];
  const asked = [];
  const token = (why) => {
    asked.push(why);
    return fakeToken({ sub: "anna", n: asked.length, iat: world.nowMs / 1000, exp: world.nowMs / 1000 + 3600 });
  };
  const wire = new Longwire(URL_, { token, WebSocket: FakeSocket, ...options });
  wire.onState((event) => states.push(event));
  return { wire, states, asked };
}

// The gateway takes the login that the newest socket sends.
export async function accept(world, body = {}) {
  const { socket } = world;
  socket.open();
  await world.pass(0);
  await acceptLogin(world, body);
  return socket;
}

export async function acceptLogin(world, body = {}) {
  const { socket } = world;
  const { id, path } = socket.sent.at(-1);
  if (path !== "connect") throw new Error(`a connect was due, not ${path}`);
  const session = { user: "anna", connection: "c1", node: "n1", expires_at: null, ping_ms: 25_000, ...body };
  socket.say({ id, path: "connect", status: 200, body: session });
  await world.pass(0);
}

export async function refuse(world, status, code) {
  const { id, path } = world.socket.sent.at(-1);
  world.socket.say({ id, path, status, error: { code, message: `${code}, in words` } });
  await world.pass(0);
}

export async function openClient(world, options, body) {
  const client = makeClient(world, options);
  client.wire.connect();
  await world.pass(0);
  client.socket = await accept(world, body);
  return client;
}
