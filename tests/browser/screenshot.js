// Makes docs/live-page.png and docs/live-page-dark.png: a node under the load of longwire-load's `soak`, which comes and
// goes, calls, is pushed to and stops reading, looked at for two minutes. Run it by hand, after `npm ci --ignore-scripts`:
//
//   cargo build --release --workspace && LONGWIRE_BIN=…/target/release/longwire node screenshot.js [SECONDS [FOLDER]]

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { launch, open } from "./browser.js";
import { SECRET, ask, client, push, start } from "./node.js";
import { squeeze } from "./png.js";

const LOAD = process.env.LONGWIRE_LOAD_BIN ?? new URL("../../target/release/longwire-load", import.meta.url).pathname;
const [seconds = "125", folder = new URL("../../docs/", import.meta.url).pathname] = process.argv.slice(2);
const BYTES_MAX = 150_000;

const SLOW = { "lena.k": "phone", "order-terminal-7": "kiosk", "t.okafor": "tablet" };

// Those who hardly read do not answer pings either: they are to stay for the picture.
const settings = ['limits.outbound_bytes = "64MiB"', 'timeouts.ping = "10m"', "server.reactors = 2"];
const node = await start({ settings: settings.join("\n") });
const load = spawn(
  LOAD,
  ["soak", "-q", "-n", "2000", "--rate", "250", "--stay", "15s", "--duration", `${Number(seconds) + 60}s`].concat(
    ["--share", "0.001", "--bytes", "200", "--publishers", "2", "--secret", SECRET],
    ["--target", node.ws, "--api", node.page.replace(/\/$/, "")],
  ),
  { stdio: ["ignore", "ignore", "inherit"] },
);
const loaded = new Promise((resolve) => load.once("exit", resolve));
const browser = await launch();
try {
  const looks = {};
  for (const theme of ["light", "dark"]) {
    looks[theme] = await open(browser, `${node.page}#overview`, { theme });
    await looks[theme].page.getByLabel("2 min").check();
  }
  const end = Date.now() + Number(seconds) * 1000;
  const filler = "x".repeat(200_000);
  for (const [user, device] of Object.entries(SLOW)) {
    await client(node, user, { pause_ms: 10_000, device });
    // What its socket and the kernel hold for it is not queued yet.
    const waits = async () => (await ask(node, "v1/slow")).connections.some((slow) => slow.user === user);
    while (!(await waits())) await push(node, { user }, "feed", filler);
    for (let more = user.length; more > 6; more -= 2) await push(node, { user }, "feed", filler);
  }
  for (let turn = 0; Date.now() < end; turn++) {
    await push(node, { user: Object.keys(SLOW)[turn % 3] }, "feed", filler.slice(0, 9_000 * (1 + ((turn * 7) % 5))));
    if (turn % 5 === 4) {
      await client(node, "moderated");
      await ask(node, "v1/users/moderated", { method: "DELETE" });
    }
    await sleep(2000);
  }
  for (const [theme, { page, complaints }] of Object.entries(looks)) {
    const path = `${folder}/live-page${theme === "dark" ? "-dark" : ""}.png`;
    const png = squeeze(await page.screenshot({ fullPage: true }));
    const size = png.length;
    writeFileSync(path, png);
    console.log(`${path}: ${size} bytes`, ...complaints);
    if (size > BYTES_MAX) process.exitCode = 1;
  }
} finally {
  await browser.close();
  load.kill("SIGINT");
  await loaded;
  await node.stop();
}
