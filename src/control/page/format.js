// Numbers and times as a person reads them. Pure; used by every view.

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SMALL = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

// A whole number, short from a hundred thousand on: 98,112 or 1.2M.
export const count = (n) => (Math.abs(n) >= 100_000 ? COMPACT.format(n) : COUNT.format(n));

// A number that may be a fraction of one: 0.4, 12.5, 1,024.
export const rate = (n) => (Math.abs(n) >= 100 ? count(n) : SMALL.format(n));

// Binary units: 0 B, 12.5 KiB.
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const at = n < 1 ? 0 : Math.min(Math.floor(Math.log2(n) / 10), units.length - 1);
  return `${SMALL.format(n / 1024 ** at)} ${units[at]}`;
}

// A short time: 85 µs, 1.2 ms, 3 s.
export function seconds(s) {
  if (s === 0) return "0";
  if (s < 0.001) return `${COUNT.format(s * 1e6)} µs`;
  if (s < 1) return `${SMALL.format(s * 1e3)} ms`;
  return `${SMALL.format(s)} s`;
}

// A share of one: 0.4 %, 37 %.
export const percent = (share) => `${share < 0.1 ? SMALL.format(share * 100) : COUNT.format(share * 100)} %`;

// A long time, in its two largest units: 3 d 4 h, 12 min 5 s.
export function duration(ms) {
  let left = Math.max(0, Math.floor(ms / 1000));
  const parts = [];
  for (const [unit, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]]) {
    const n = Math.floor(left / size);
    left -= n * size;
    if (n > 0 || (unit === "s" && parts.length === 0)) parts.push(`${n} ${unit}`);
  }
  return parts.slice(0, 2).join(" ");
}

// JSON text without characters that do not show or that turn its direction round (the Unicode categories Cc and Cf, the
// separators of lines): escaped, which means the same. Tabs and line ends stay: JSON has them between its values only.
export const visible = (json) =>
  json.replace(/(?![\t\n\r])[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) =>
    found
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );

// The time of the day: 14:03:59.
export const clock = (at_ms) => CLOCK.format(at_ms);

// Day and time: 26 Nov 2026, 14:03:59.
export const day = (at_ms) => DAY.format(at_ms);

// `1 connection`, `2 connections`.
export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
