// What the types allow and refuse. tsc reads this file, nobody runs it.
import WebSocket from "ws";
import { Longwire, LongwireError, type Push, type Session, type StateEvent } from "longwire";

interface Order {
  order: number;
}

const wire = new Longwire("wss://push.example.com/ws", {
  token: async (why) => (why === "refused" ? null : "eyJ0eXAi"),
  device: "phone",
  topics: new Set(["room.42"]),
  timeout: 5_000,
  queue: 0,
  backoff: { max: 60_000 },
  WebSocket,
});
new Longwire(new URL("wss://push.example.com/ws"), { token: () => "eyJ0eXAi", topics: "room.42" });

const session: Promise<Session> = wire.connect();
const topics: string[] = wire.topics;
const off: () => void = wire.on<Order>("order/*", (body, push: Push<Order>) => console.log(body.order, push.topic));
wire.onState((event: StateEvent) => {
  if (event.state === "waiting") console.log(event.waitMs, event.code);
  if (event.state === "open") console.log(event.user, event.refused["room.42"]?.code);
  if (event.state === "closed") console.log(event.reason);
  if (event.state === "waiting") event.waitMs.toFixed();
  // @ts-expect-error: only "waiting" has a wait
  event.waitMs.toFixed();
  // @ts-expect-error: only "open" has a user
  event.user;
});
wire.onState(({ state, code, status, reason, waitMs }) => console.log(state, code, status, reason, waitMs?.toFixed()));
wire.send("order/seen", { order: 1 }, { queue: false });
const order: Promise<Order> = wire.request<Order>("order/create", { sku: "a1" }, { timeout: 1_000, resend: true });
order.catch((error: unknown) => {
  if (error instanceof LongwireError) console.log(error.code, error.status?.toFixed(), error.body);
});
wire.subscribe("room.1").then(() => wire.unsubscribe(["room.1", "room.2"]));
const some: readonly string[] = ["room.3"];
wire.subscribe(some);
wire.unsubscribe(some);
const unset = undefined as string | undefined;
new Longwire("wss://push.example.com/ws", { token: () => "", device: unset, topics: undefined, backoff: { max: undefined } });
wire.request("order/list", {}, { timeout: undefined, resend: undefined });
wire.close();
console.log(session, topics, off);

// @ts-expect-error: a token is needed
new Longwire("wss://push.example.com/ws", {});
// @ts-expect-error: a token is a string, not a number
new Longwire("wss://push.example.com/ws", { token: () => 7 });
// @ts-expect-error: no such option
new Longwire("wss://push.example.com/ws", { token: () => "", retries: 7 });
// @ts-expect-error: not to be set
wire.state = "open";
// @ts-expect-error: no such option
wire.request("order/create", {}, { retry: true });
