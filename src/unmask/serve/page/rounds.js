// Scores on held-out images after every round, over the number of objects that were labeled.

import { element } from "./panels.js";
import { text } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, RIGHT, TOP, BOTTOM] = [30, 232, 8, 72];

/** Rounds as points of the first score that they have in common, oldest first. */
function pointsOf(jobs) {
  const trained = jobs.filter((job) => job.kind === "train" && Object.keys(job.scores).length).reverse();
  const name = Object.keys(trained.at(-1)?.scores ?? {})[0];
  const points = trained
    .filter((job) => Number.isFinite(job.scores[name]))
    .map((job) => ({ id: job.id, objects: job.objects, value: job.scores[name] }));
  return { name, points };
}

function add(parent, kind, attributes, content = "") {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = content;
  parent.append(made);
  return made;
}

/** Draw the curve; it tells when more labels stop to help. */
export function showRounds(jobs) {
  const { name, points } = pointsOf(jobs);
  const chart = element("rounds");
  chart.classList.toggle("hidden", !points.length);
  chart.replaceChildren();
  if (!points.length) return;
  const most = Math.max(...points.map((point) => point.objects), 1);
  const x = (point) => LEFT + ((RIGHT - LEFT) * point.objects) / most;
  const y = (value) => BOTTOM - (BOTTOM - TOP) * Math.max(0, Math.min(1, value));
  for (const value of [0, 0.5, 1]) {
    add(chart, "line", { x1: LEFT, x2: RIGHT, y1: y(value), y2: y(value), class: "grid" });
    add(chart, "text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, value);
  }
  add(chart, "text", { x: LEFT, y: BOTTOM + 15 }, name);
  add(chart, "text", { x: RIGHT, y: BOTTOM + 15, "text-anchor": "end" }, `${most} ${text("unknownCount")}`);
  add(chart, "polyline", { points: points.map((point) => `${x(point)},${y(point.value)}`).join(" ") });
  for (const point of points) {
    const dot = add(chart, "circle", { cx: x(point), cy: y(point.value), r: 3 });
    add(dot, "title", {}, text("roundPoint", { ...point, name, value: point.value.toFixed(3) }));
  }
}
