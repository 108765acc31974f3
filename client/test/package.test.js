// What is published: its size, its types, its files. Needs `npm ci`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

test("the module, as it is shipped, is under 5 KB compressed", (t) => {
  const source = readFileSync(here("longwire.js"));
  const bytes = gzipSync(source, { level: 9 }).length;
  t.diagnostic(`${source.length} bytes, ${bytes} with gzip -9`);
  assert.ok(bytes < 5_000, `${bytes} bytes`);
});

test("tsc takes what the types allow, and nothing else", () => {
  execFileSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here("test/types")], {
    encoding: "utf8",
    stdio: ["ignore", "inherit", "inherit"],
  });
});

test("what the module exports is what the types say", async () => {
  const module = await import("longwire");
  const types = readFileSync(here("longwire.d.ts"), "utf8");
  const classes = [...types.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(module).sort(), classes.sort());
  const declared = [...types.slice(types.indexOf("export class Longwire {")).matchAll(/^  (?:readonly )?(\w+)[(<:]/gm)];
  const has = Object.getOwnPropertyNames(module.Longwire.prototype);
  assert.deepEqual([...new Set(declared.map(([, name]) => name))].sort(), has.sort());
});

test("the lock file names no registry, and the package needs nothing", () => {
  assert.doesNotMatch(readFileSync(here("package-lock.json"), "utf8"), /"resolved"/);
  const { dependencies, files } = JSON.parse(readFileSync(here("package.json"), "utf8"));
  assert.equal(dependencies, undefined);
  for (const file of files) assert.ok(readFileSync(here(file)).length > 0, file);
});
