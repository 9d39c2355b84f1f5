// Keyboard: shortcuts everywhere, and drawing without a mouse while the canvas has the focus.

const TOOLS = {
  b: "brush", e: "erase", p: "polygon", f: "fill", g: "similar", s: "split", m: "merge", d: "delete", i: "relabel", r: "region", h: "pan",
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function listen(canvas, page) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea");
    if (typing || event.target.closest("dialog")) return;
    if (event.ctrlKey || event.metaKey) withControl(event, page);
    else if (!event.altKey && (plain(event, page) || (event.target === canvas && onCanvas(event, page)))) event.preventDefault();
  });
}

function withControl(event, page) {
  const key = event.key.toLowerCase();
  const actions = { z: event.shiftKey ? page.redo : page.undo, y: page.redo, s: page.save };
  if (!actions[key]) return;
  event.preventDefault();
  actions[key]();
}

function plain(event, page) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const actions = {
    "[": () => page.brush(-1),
    "]": () => page.brush(1),
    "+": () => page.zoom(1.25),
    "=": () => page.zoom(1.25),
    "-": () => page.zoom(0.8),
    0: page.fit,
    n: page.next,
    t: page.between,
    v: page.part,
    PageUp: () => page.slice(-1),
    PageDown: () => page.slice(1),
    Escape: page.cancel,
  };
  if (TOOLS[key]) page.tool(TOOLS[key]);
  else if (actions[key]) actions[key]();
  else return false;
  return true;
}

function onCanvas(event, page) {
  const arrow = ARROWS[event.key];
  const far = event.shiftKey ? 10 : 1;
  if (arrow) page.movePen(arrow[0] * far, arrow[1] * far);
  else if (event.key === " ") page.pressPen();
  else if (event.key === "Enter") page.close();
  else return false;
  return true;
}
