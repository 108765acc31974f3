// What is published, packed as it will be: its size, its types, its files. Needs `npm ci`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

const directory = mkdtempSync(join(tmpdir(), "longwire-package-"));
const installed = join(directory, "node_modules", "longwire");
let files;
before(() => {
  const npm = ["pack", "--json", "--pack-destination", directory];
  const [packed] = JSON.parse(execFileSync("npm", npm, { cwd: here("."), encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }));
  files = packed.files.map(({ path }) => path).sort();
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(directory, packed.filename), "-C", installed, "--strip-components=1"]);
});
after(() => rmSync(directory, { recursive: true }));

test("the module, as it is published, is under 5 KB compressed", (t) => {
  const source = readFileSync(join(installed, "longwire.min.js"));
  const bytes = gzipSync(source, { level: 9 }).length;
  t.diagnostic(`${source.length} bytes, ${bytes} with gzip -9`);
  assert.ok(bytes < 5_000, `${bytes} bytes`);
});

test("the package has what it names, and no more", () => {
  const { exports, files: named, main, types } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  assert.deepEqual(files, ["README.md", "package.json", ...named].sort());
  for (const path of [main, types, exports["."].default, exports["."].types]) assert.ok(files.includes(path.slice(2)), path);
  // Nor does its README lead to files that only the repository has.
  const links = [...readFileSync(join(installed, "README.md"), "utf8").matchAll(/\]\((?!https?:)([^)#]+)/g)];
  for (const [, path] of links) assert.ok(files.includes(path), path);
});

test("tsc takes what the types allow, and nothing else", () => {
  execFileSync(process.execPath, [here("node_modules/typescript/bin/tsc"), "-p", here("test/types")], {
    encoding: "utf8",
    stdio: ["ignore", "inherit", "inherit"],
  });
});

test("the README's program is one that tsc takes, however it looks for the package", () => {
  const [, program] = /```js\n([^]*?)```/.exec(readFileSync(join(installed, "README.md"), "utf8"));
  const path = join(directory, "readme.mts");
  writeFileSync(path, program);
  for (const [module, resolution] of [["nodenext", "nodenext"], ["node16", "node16"], ["esnext", "bundler"]]) {
    const how = ["--module", module, "--moduleResolution", resolution, "--target", "es2022"];
    const tsc = [here("node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--exactOptionalPropertyTypes", ...how, path];
    execFileSync(process.execPath, tsc, { cwd: directory, stdio: ["ignore", "inherit", "inherit"] });
  }
});

test("what the module exports is what the types say", async () => {
  const module = await import(pathToFileURL(join(installed, "longwire.min.js")));
  assert.deepEqual(Object.keys(module), Object.keys(await import("../longwire.js")));
  const types = readFileSync(here("longwire.d.ts"), "utf8");
  const classes = [...types.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(module).sort(), classes.sort());
  const declared = [...types.slice(types.indexOf("export class Longwire {")).matchAll(/^  (?:readonly )?(\w+)[(<:]/gm)];
  const has = Object.getOwnPropertyNames(module.Longwire.prototype);
  assert.deepEqual([...new Set(declared.map(([, name]) => name))].sort(), has.sort());
});

test("the lock file names no registry, and the package needs nothing", () => {
  assert.doesNotMatch(readFileSync(here("package-lock.json"), "utf8"), /"resolved"/);
  const { dependencies } = JSON.parse(readFileSync(here("package.json"), "utf8"));
  assert.equal(dependencies, undefined);
});
