// What is wrong with how a page looks, whatever it shows. Knows nothing of longwire; called by the tests of each view, with
// `page.evaluate`.

// Runs in the page: what scrolls sideways, what has no name, text that cannot be read on what it stands on.
export function faults() {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth) {
    for (const element of document.querySelectorAll("main *, header *")) {
      if (element.getBoundingClientRect().right > innerWidth + 0.5) found.push(`too wide: ${element.outerHTML.slice(0, 80)}`);
    }
    found.push(`${root.scrollWidth} wide on ${innerWidth}`);
  }
  const visible = (element) => element.checkVisibility();
  for (const element of document.querySelectorAll("input, textarea, button, a")) {
    const named = element.labels?.length || element.ariaLabel || element.textContent.trim();
    if (visible(element) && !named) found.push(`without a name: ${element.outerHTML}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`twice: ${id}`);

  // WCAG 2.1, 1.4.3: 4.5 to 1. A canvas turns every notation of a colour into its bytes.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const share = byte / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const element of document.querySelectorAll("main *, header *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!text || !visible(element) || element.disabled || element.namespaceURI.endsWith("svg")) continue;
    const grounds = [];
    for (let at = element; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    const [a, b] = [over(grounds), over([...grounds, getComputedStyle(element).color])].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(1)}: ${element.outerHTML.slice(0, 80)}`);
  }
  return found;
}
