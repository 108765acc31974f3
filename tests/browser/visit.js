// How a test visits a page of a node, and what it waits for there. The browser and the nodes are there for as long as the
// tests that ask for them.

import assert from "node:assert/strict";
import { after, before } from "node:test";

import { launch, open } from "./browser.js";
import { PATIENCE_MS, start } from "./node.js";

// A browser for the tests of a file: returns a function that opens a page in it. The test fails for whatever the page
// complains of, but for what `expected` matches.
export function visitor() {
  let browser;
  before(async () => (browser = await launch()));
  after(() => browser?.close());
  return async function visit(t, url, { expected, ...options } = {}) {
    const visited = await open(browser, url, options);
    visited.page.setDefaultTimeout(PATIENCE_MS);
    t.after(async () => {
      await visited.context.close();
      const complaints = visited.complaints.filter((text) => !expected?.test(text));
      assert.deepEqual(complaints, [], "the page complains of nothing");
    });
    return visited.page;
  };
}

export const waitFor = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();
export const textOf = (page, selector) => page.locator(selector).first().innerText();

// A node for a group of tests.
export function nodeOf(options) {
  const held = {};
  before(async () => (held.node = await start(options)));
  after(() => held.node?.stop());
  return held;
}
