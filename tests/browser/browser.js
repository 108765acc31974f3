// Chromium for the tests and for the screenshot. CHROMIUM says which.

import { chromium } from "playwright-core";

// Starts it. Without its sandbox where it would refuse to start otherwise: as root, as in a container.
export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-dev-shm-usage",
      "--disable-gpu",
      "--disable-sync",
      "--no-first-run",
    ],
  });

// A page of a fresh profile at the node's `/` and what it complained of: errors, and violations of its content policy.
export async function open(browser, url, { width = 1280, height = 800, theme = "light" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion: "reduce" });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => complaints.push(`${error}`));
  page.on("dialog", (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  return { page, context, complaints };
}
