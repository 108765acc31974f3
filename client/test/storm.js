// A crowd of clients loses its gateway, which comes back a moment later: when does each of them log in again?
//
//   LONGWIRE_BIN=target/release/longwire node client/test/storm.js [clients] [kill|drain]
//
// prints a histogram. Without a second argument it does both: a node that is killed and is back after 3 s, and a node
// that drains over 10 s and is started again once it has ended. docs/clients.md shows what came out.
import { pathToFileURL } from "node:url";
import WebSocket from "ws";
import { Longwire } from "../longwire.js";
import { Gateway, mintToken, sleep, until } from "./support/gateway.js";

// Resolves with how many came `back`, and how many of them in each `slotMs` after the first loss.
export async function storm({ clients, how, downMs = 3_000, slotMs = 1_000, say = console.log }) {
  const gateway = await Gateway.start({ "timeouts.drain": "10s" });
  const wires = [];
  try {
    let open = 0;
    let lostAtMs = 0;
    const backAtMs = [];
    for (let n = 0; n < clients; n++) {
      const wire = new Longwire(gateway.url, { token: () => mintToken(`user-${n}`), WebSocket });
      wires.push(wire);
      let was = false;
      wire.onState(({ state }) => {
        if (state === "open") {
          open++;
          if (was) backAtMs.push(Date.now());
        } else if (wire.session === null && state === "waiting" && !was) {
          was = true;
          open--;
          lostAtMs ||= Date.now();
        }
      });
      wire.connect();
      if (n % 50 === 49) await until("logins", () => open > n - 50);
    }
    await until("everybody", () => open === clients);
    say(`${clients} clients are logged in`);
    if (how === "drain") {
      await gateway.drain();
      say("the node has drained");
    } else {
      await gateway.kill();
      say(`the node was killed, and stays away for ${downMs} ms`);
      await sleep(downMs);
    }
    const startedMs = Date.now() - lostAtMs;
    await gateway.start();
    await until("everybody back", () => backAtMs.length === clients, 180_000);
    const histogram = [];
    for (const atMs of backAtMs) {
      const slot = Math.floor((atMs - lostAtMs) / slotMs);
      histogram[slot] = (histogram[slot] ?? 0) + 1;
    }
    for (let slot = 0; slot < histogram.length; slot++) histogram[slot] ??= 0;
    return { histogram, back: backAtMs.length, slotMs, startedMs };
  } finally {
    for (const wire of wires) wire.close();
    await gateway.stop();
  }
}

function draw({ histogram, slotMs, startedMs }) {
  const most = Math.max(...histogram);
  const lines = histogram.map((n, slot) => {
    const from = ((slot * slotMs) / 1000).toFixed(1).padStart(5);
    return `${from} s  ${String(n).padStart(4)}  ${"█".repeat(Math.ceil((n / most) * 50))}`.trimEnd();
  });
  return `${lines.join("\n")}\n\nThe node was started again ${(startedMs / 1000).toFixed(1)} s after the first loss.`;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [clients = "1000", how] = process.argv.slice(2);
  for (const one of how ? [how] : ["kill", "drain"]) console.log(`${draw(await storm({ clients: Number(clients), how: one }))}\n`);
  process.exit(0); // sockets that were cut off linger
}
