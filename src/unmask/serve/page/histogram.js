// A measure of the objects of an image as bars; that of the selected object is marked.

import { element, measured } from "./panels.js";
import { TEXTS, text } from "./texts.js";

const BINS = 16;
const [WIDTH, HEIGHT] = [240, 44];

/** Draw the measure that the table is sorted by; the size if that is none, or is not known. */
export function showHistogram(objects, selected = 0) {
  const wanted = measured();
  const name = objects.some((object) => Number.isFinite(object[wanted])) ? wanted : "size";
  // Sizes differ by factors: equal steps are equal factors.
  const [scale, back] = name === "size" ? [Math.log, Math.exp] : [(value) => value, (value) => value];
  const known = objects.filter((object) => Number.isFinite(object[name]));
  const chart = element("sizes");
  chart.classList.toggle("hidden", known.length < 3);
  chart.replaceChildren();
  if (known.length < 3) return;
  const values = known.map((object) => scale(object[name]));
  const least = Math.min(...values);
  const step = (Math.max(...values) - least) / BINS || 1;
  const binOf = (value) => Math.min(BINS - 1, Math.floor((value - least) / step));
  const edge = (bin) => Number(back(least + bin * step).toPrecision(3));
  const counts = new Array(BINS).fill(0);
  for (const value of values) counts[binOf(value)] += 1;
  const most = Math.max(...counts);
  const marked = known.find((object) => object.id === selected);
  counts.forEach((count, bin) => {
    const height = (HEIGHT * count) / most;
    const bar = drawn("rect", { x: (bin * WIDTH) / BINS, y: HEIGHT - height, width: WIDTH / BINS - 1, height });
    if (marked && binOf(scale(marked[name])) === bin) bar.setAttribute("class", "marked");
    const title = drawn("title", {});
    title.textContent = text("histogramBar", { count, from: edge(bin), to: edge(bin + 1) });
    bar.append(title);
    chart.append(bar);
  });
  const shown = { name: TEXTS.sorts[name], from: edge(0), to: edge(BINS) };
  chart.setAttribute("aria-label", text("histogram", shown));
}

function drawn(kind, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
