// Making and asking for elements. What comes from outside becomes text, never markup: nothing here takes HTML. Used by
// every view.

export const by = (id) => document.getElementById(id);

// The namespace is read from the page, which has an <svg> in it.
const SVG = document.querySelector("svg").namespaceURI;

// An element with attributes (`onclick` and its like take a function; null and false are left out) and children, which
// are nodes or text.
export const el = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

// The same for SVG.
export const svg = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Shows rows in a table's body, or one line across it that says why there are none.
export function fill(table, rows, empty) {
  const columns = table.tHead.rows[0].cells.length;
  const body = rows.length > 0 ? rows : [el("tr", { class: "empty" }, el("td", { colspan: columns }, empty))];
  table.tBodies[0].replaceChildren(...body);
}

// A cell that a narrow screen shows with its column's name before it.
export const cell = (label, content, attributes) => el("td", { "data-label": label, ...attributes }, content);

// A name within a sentence: whichever way it is written, it turns nothing round it.
export const name = (text) => el("bdi", {}, text);

// Asks before something that cannot be undone; resolves to whether the answer was yes. `question` is text, or a list of
// text and nodes.
export function confirmed(question, detail, action) {
  const dialog = by("confirm");
  by("confirm-question").replaceChildren(...[question].flat());
  by("confirm-detail").textContent = detail;
  by("confirm-yes").textContent = action;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
