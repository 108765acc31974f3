// Small plots in SVG: lines or stacked areas over the last minutes, with a legend that says the values in text and a
// cursor that all plots share. Knows nothing of longwire. Used by `overview`.

import { el, svg } from "./dom.js";
import { clock } from "./format.js";

const HEIGHT = 104;
// Room for the times under the plot, and for the highest label above.
const BOTTOM = 16;
const TOP = 12;
// Two points further apart than this were not looked at in between: the line has a gap.
const GAP_MS = 9_000;
// What the arrow keys move the cursor by.
const STEP_MS = 2_000;

// Where the cursor is, for all plots; null: nowhere, the legends say what is now.
let cursor_at = null;
const plots = new Set();

function moveCursor(at) {
  cursor_at = at;
  plots.forEach((plot) => plot.showCursor());
}

// The next of 1, 2, 5, 10, 20, … that is not below `value`; of 1, 2, 4, 8, … for binary units.
function nice(value, binary) {
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999);
}

export class Plot {
  // `series`: `{name, colour, of(point), total}` each, the colour a class of the style sheet; or a function from the
  // points to such a list. `format` makes text of a value; `least` is what the axis shows at the least; `summary` may
  // make the legend's value from all points in view instead of the one at the cursor.
  constructor(title, { series, format, unit = "", stacked = false, binary = false, least = 1, summary = null }) {
    Object.assign(this, { title, series, format, unit, stacked, binary, least, summary });
    this.points = [];
    this.drawing = svg("svg", { class: "drawing", "aria-hidden": "true" });
    this.legend = el("ul", { class: "legend" });
    this.time = el("span", { class: "time" });
    this.element = el(
      "figure",
      {
        class: "plot card",
        tabindex: "0",
        role: "group",
        "aria-label": `${title}${unit ? `, ${unit}` : ""}`,
        onkeydown: (event) => this.#key(event),
        onblur: () => moveCursor(null),
      },
      el("figcaption", {}, el("h3", {}, title), el("span", { class: "unit" }, unit), this.time),
      this.drawing,
      this.legend,
    );
    this.drawing.addEventListener("pointermove", (event) => this.#pointer(event));
    this.drawing.addEventListener("pointerleave", () => moveCursor(null));
    new ResizeObserver(() => this.#draw()).observe(this.element);
    plots.add(this);
  }

  // Draws the points of the last `window_ms` before `now`; which is a time gone by if they are `stale`.
  show(points, now, window_ms, stale) {
    Object.assign(this, { now, window_ms, stale });
    this.points = points.filter((point) => point.at >= now - window_ms - GAP_MS);
    this.#draw();
  }

  #x(at) {
    return this.width * (1 - (this.now - at) / this.window_ms);
  }

  #y(value) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / this.most);
  }

  #draw() {
    this.width = this.drawing.clientWidth;
    if (!this.width || this.now === undefined) return;
    this.lines = typeof this.series === "function" ? this.series(this.points) : this.series;
    // A stacked series stands on the sum of those before it.
    const tops = this.points.map((point) => {
      let sum = 0;
      return this.lines.map((line) => {
        const value = line.of(point);
        if (!this.stacked || value === null) return value;
        return (sum += value);
      });
    });
    const values = tops.flat().filter((value) => value !== null);
    this.most = nice(Math.max(this.least, ...values), this.binary);
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const drawn = [...this.#axes()];
    // From the top of the stack down, so that a lower one's line is over a higher one's area.
    for (const at of [...this.lines.keys()].reverse()) {
      // A line in red along the ground would look like trouble where there is none.
      const flat = this.points.every((point) => !this.lines[at].of(point));
      for (const run of this.#runs(tops, at)) drawn.push(...this.#area(run, flat ? "flat" : this.lines[at].colour));
    }
    this.cursor = svg("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM });
    this.drawing.replaceChildren(...drawn, this.cursor);
    this.showCursor();
  }

  *#axes() {
    const text = (x, y, anchor, content) => svg("text", { x, y, "text-anchor": anchor }, content);
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(this.#y(share * this.most)) + 0.5;
      yield svg("line", { class: share === 0 ? "base" : "grid", x1: 0, x2: this.width, y1: y, y2: y });
      if (share === 1) yield text(0, y - 3, "start", this.format(this.most));
    }
    const from = this.stale ? clock(this.now - this.window_ms) : `${this.window_ms / 60_000} min ago`;
    yield text(0, HEIGHT - 3, "start", from);
    yield text(this.width, HEIGHT - 3, "end", this.stale ? clock(this.now) : "now");
  }

  // The stretches of one series without a gap, as `[x, y, y of what it stands on]`.
  #runs(tops, at) {
    const runs = [];
    let run = null;
    this.points.forEach((point, i) => {
      const top = tops[i][at];
      const gap = i > 0 && point.at - this.points[i - 1].at > GAP_MS;
      if (top === null || gap) run = null;
      if (top === null) return;
      if (!run) runs.push((run = []));
      const under = this.stacked && at > 0 ? tops[i][at - 1] : 0;
      run.push([this.#x(point.at).toFixed(1), this.#y(top).toFixed(1), this.#y(under ?? 0).toFixed(1)]);
    });
    return runs;
  }

  #area(run, colour) {
    const line = run.map(([x, y]) => `${x},${y}`).join("L");
    const back = [...run].reverse().map(([x, , under]) => `${x},${under}`).join("L");
    const one = run.length === 1;
    return [
      svg("path", { class: `area ${colour}${this.stacked ? " stacked" : ""}`, d: `M${line}L${back}Z` }),
      svg("path", { class: `line ${colour}`, d: one ? `M${line}h2` : `M${line}` }),
    ];
  }

  #pointer(event) {
    if (!this.points.length) return;
    const box = this.drawing.getBoundingClientRect();
    moveCursor(this.now - this.window_ms * (1 - (event.clientX - box.left) / box.width));
  }

  #key(event) {
    const step = { ArrowLeft: -STEP_MS, ArrowRight: STEP_MS }[event.key];
    if (event.key === "Escape") moveCursor(null);
    if (step === undefined || this.now === undefined) return;
    event.preventDefault();
    const to = (cursor_at ?? this.now) + step;
    moveCursor(to > this.now ? null : Math.max(to, this.now - this.window_ms));
  }

  // The legend's values, and the line where the cursor is.
  showCursor() {
    if (!this.cursor) return;
    const nearest = (best, point) => (Math.abs(point.at - cursor_at) < Math.abs(best.at - cursor_at) ? point : best);
    const point = cursor_at === null ? this.points.at(-1) : this.points.length ? this.points.reduce(nearest) : null;
    const value = (line) => {
      if (cursor_at === null && this.summary) return this.summary(line, this.points);
      const value = point ? line.of(point) : null;
      return value === null ? "–" : this.format(value);
    };
    const shown = cursor_at !== null && point;
    this.cursor.setAttribute("class", shown ? "cursor shown" : "cursor");
    if (shown) {
      this.cursor.setAttribute("x1", this.#x(point.at));
      this.cursor.setAttribute("x2", this.#x(point.at));
    }
    this.time.textContent = shown ? clock(point.at) : "";
    this.legend.replaceChildren(
      ...this.lines.map((line) =>
        el("li", {}, el("i", { class: line.colour }), line.name, " ", el("b", {}, value(line))),
      ),
    );
  }
}
