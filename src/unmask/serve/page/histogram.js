// Sizes of the objects of an image as bars; those of the selected object are marked.

import { element } from "./panels.js";
import { text } from "./texts.js";

const BINS = 16;
const [WIDTH, HEIGHT] = [240, 44];

export function showSizes(objects, selected = 0) {
  const chart = element("sizes");
  chart.classList.toggle("hidden", objects.length < 3);
  chart.replaceChildren();
  if (objects.length < 3) return;
  // Sizes differ by factors: equal steps are equal factors.
  const logs = objects.map((object) => Math.log(object.size));
  const least = Math.min(...logs);
  const step = (Math.max(...logs) - least) / BINS || 1;
  const binOf = (size) => Math.min(BINS - 1, Math.floor((Math.log(size) - least) / step));
  const counts = new Array(BINS).fill(0);
  for (const object of objects) counts[binOf(object.size)] += 1;
  const most = Math.max(...counts);
  const marked = objects.find((object) => object.id === selected);
  counts.forEach((count, bin) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = (HEIGHT * count) / most;
    const place = { x: (bin * WIDTH) / BINS, y: HEIGHT - height, width: WIDTH / BINS - 1, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value);
    if (marked && binOf(marked.size) === bin) bar.setAttribute("class", "marked");
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    const [from, to] = [bin, bin + 1].map((edge) => Math.round(Math.exp(least + edge * step)));
    title.textContent = text("sizesBar", { count, from, to });
    bar.append(title);
    chart.append(bar);
  });
}
