// What each tool does with the pixels that it is used on.

import { announce, element, markObject, status } from "./panels.js";
import { text } from "./texts.js";
import * as tools from "./tools.js";
import { planeAxes } from "./view.js";

const LINES = new Set(["split", "region"]);

export class Annotator {
  constructor(view, editor, hooks) {
    this.view = view;
    this.editor = editor;
    this.hooks = hooks;
    this.tool = "brush";
    this.selected = 0;
    this.last = null;
    this.cursor = null;
    this.points = [];
    this.mergeFrom = 0;
    this.writes = null;
    this.backlog = [];
    this.idle = null;
  }

  get radius() {
    return Number(element("brush-size").value);
  }

  /** The id to draw with: as written in the field, or that of a new object. */
  newId() {
    return this.wanted() || this.editor.newId();
  }

  wanted() {
    const id = Number(element("drawn-id").value);
    this.editor.top = Math.max(this.editor.top, id);
    return id;
  }

  get overwrite() {
    return element("overwrite").checked;
  }

  choose(tool) {
    this.cancel();
    this.tool = tool;
    this.mergeFrom = 0;
    this.hooks.draw();
  }

  select(id) {
    this.selected = id;
    markObject(id);
    this.hooks.draw();
  }

  /** Use the tool now, or as soon as the labels are loaded, in the order of the gestures. */
  gesture(kind, ...given) {
    this.backlog.push([kind, given]);
    if (!this.working) this.idle = this.work();
    return this.idle;
  }

  /** A change that is no gesture, such as undoing one. */
  perform(action) {
    return action();
  }

  async work() {
    this.working = true;
    try {
      while (this.backlog.length) {
        // Nothing is awaited without need: a stroke is drawn in the event that reports it.
        // While one slice loads another may be asked for, so one look is not enough.
        while (this.editor.busy) await this.editor.busy;
        const [next, values] = this.backlog.shift();
        const done = this[next](...values);
        if (done) await done;
      }
    } finally {
      this.working = false;
      this.backlog = [];
    }
  }

  press(pixel, event = {}) {
    const { editor } = this;
    if (!editor.plane) {
      status(text("zoomIn"), "bad");
      return null;
    }
    // From the keyboard; a pointer that moves the image selects where it was not moved.
    if (this.tool === "pan") return this.pick(pixel);
    if (this.tool !== "region" && !this.hooks.mayEdit()) return null;
    const here = editor.local(pixel);
    if (this.tool === "polygon") this.points.push(pixel);
    else if (LINES.has(this.tool)) this.points = [pixel];
    else if (this.tool === "brush" || this.tool === "erase") this.startStroke(here, event);
    this.hooks.draw();
    const click = !LINES.has(this.tool) && !["polygon", "brush", "erase"].includes(this.tool);
    return click && here.inside ? this.click(here) : null;
  }

  startStroke(here, event) {
    const { editor } = this;
    // The blunt end of a pen erases.
    const erase = this.tool === "erase" || event.buttons === 32;
    this.painting = erase ? 0 : this.wanted() || editor.at(here) || editor.newId();
    this.writes = editor.begin();
    this.last = here;
    tools.paintLine(editor.plane, here, here, this.radius, this.painting, this.overwrite, this.writes);
    editor.progress();
  }

  drag(pixel) {
    const { editor } = this;
    if (this.tool === "region" && this.points.length) this.points[1] = pixel;
    else if (this.tool === "split" && this.points.length) this.addPoint(pixel);
    else if (this.writes && this.last) {
      const here = editor.local(pixel);
      tools.paintLine(editor.plane, this.last, here, this.radius, this.painting, this.overwrite, this.writes);
      this.last = here;
      editor.progress();
    }
    this.hooks.draw();
  }

  addPoint(pixel) {
    const before = this.points.at(-1);
    if (before.x !== pixel.x || before.y !== pixel.y) this.points.push(pixel);
  }

  /** Select the object under a pixel. */
  pick(pixel) {
    const id = this.editor.at(this.editor.local(pixel));
    if (id) this.select(id);
    if (id) this.hooks.picked(id);
  }

  release(pixel) {
    this.hooks.draw();
    if (this.tool === "region" && this.points.length) return this.addRegion();
    if (this.tool === "merge" && this.mergeFrom) return this.mergeWith(this.editor.local(pixel), true);
    if (this.tool === "split" && this.points.length) this.split();
    else if (this.writes) this.finish(this.painting);
    return null;
  }

  finish(id = this.selected) {
    this.writes = null;
    this.last = null;
    const changed = this.editor.end();
    this.select(id);
    return changed;
  }

  /** Forget what is half done. */
  cancel() {
    if (this.writes) this.finish();
    this.points = [];
    this.hooks.draw();
  }

  hover(pixel) {
    this.cursor = pixel;
    this.hooks.draw();
  }

  /** Close a polygon. */
  close() {
    const { editor } = this;
    if (this.tool !== "polygon" || this.points.length < 3) return;
    const points = this.points.map((pixel) => editor.local(pixel));
    this.points = [];
    const id = this.newId();
    tools.paintPolygon(editor.plane, points, id, this.overwrite, editor.begin());
    this.finish(id);
  }

  async click(here) {
    const { editor } = this;
    const { plane } = editor;
    const id = editor.at(here);
    const position = here.y * plane.width + here.x;
    if (this.tool === "fill") this.fill(here, id, position);
    else if (this.tool === "similar") await this.fillSimilar(position, id);
    else if (id === 0) status(text("nothingHere"));
    else if (this.tool === "delete") await this.replace(id, 0);
    else if (this.tool === "merge") await this.startMerge(here, id);
    else if (this.tool === "relabel") await this.relabel(id);
  }

  fill(here, id, position) {
    const { editor } = this;
    const { plane } = editor;
    if (id !== 0) {
      this.select(id);
      return;
    }
    const own = tools.enclosing(plane, position);
    const closed = own && tools.fill(plane, position, own, editor.begin());
    if (!closed) status(text(own ? "openOutline" : "noOutline"));
    this.finish(own);
  }

  async fillSimilar(position, id) {
    const { editor } = this;
    const gray = await this.hooks.grayValues();
    const tolerance = Number(element("tolerance").value);
    if (id !== 0 || !gray) {
      this.select(id);
      return;
    }
    const own = this.newId();
    tools.fillSimilar(editor.plane, gray, position, tolerance, own, editor.begin());
    this.finish(own);
  }

  split() {
    const { editor } = this;
    const points = this.points.map((pixel) => editor.local(pixel));
    this.points = [];
    const fresh = tools.splitByLine(editor.plane, points, editor.top + 1, editor.begin());
    editor.top += fresh.length;
    this.finish(fresh[0] ?? 0);
    announce(fresh.length ? text("split", { count: fresh.length + 1 }) : text("notSplit"));
  }

  async relabel(id) {
    const wanted = this.wanted();
    if (wanted) await this.replace(id, wanted);
    else status(text("chooseId"));
  }

  async startMerge(here, id) {
    if (this.mergeFrom && this.mergeFrom !== id) {
      await this.mergeWith(here, false);
      return;
    }
    this.mergeFrom = id;
    this.select(id);
    status(text("mergeFirst", { id }));
  }

  async mergeWith(here, dragged) {
    const id = this.editor.at(here);
    // Released where it was pressed: the second object is clicked next.
    if (id === this.mergeFrom && dragged) return;
    if (id && id !== this.mergeFrom) {
      const into = this.mergeFrom;
      this.mergeFrom = 0;
      await this.replace(id, into);
      announce(text("merged", { id: into }));
      return;
    }
    if (!dragged) status(text("nothingHere"));
  }

  /** Give an object another id, in all slices of a volume. */
  async replace(id, other) {
    const { editor } = this;
    const box = await this.hooks.objectBox(id);
    if (box) {
      await editor.changeBox(box, (ids) => {
        for (let position = 0; position < ids.length; position += 1) if (ids[position] === id) ids[position] = other;
      });
      this.select(other);
      return;
    }
    tools.relabel(editor.plane, id, other, editor.begin());
    this.finish(other);
  }

  addRegion() {
    const { editor, view } = this;
    const [a, b] = this.points;
    this.points = [];
    if (!b) return;
    const [rows, columns] = planeAxes(editor.meta, view.plane.axis);
    const [top, bottom] = clipped(a.y, b.y, view.height);
    const [left, right] = clipped(a.x, b.x, view.width);
    if (bottom - top < 2 || right - left < 2) return;
    const start = editor.meta.shape.map(() => view.plane.index);
    const stop = start.map((each) => each + 1);
    [start[rows], stop[rows], start[columns], stop[columns]] = [top, bottom, left, right];
    this.hooks.addRegion([start, stop]);
  }

  draw(context) {
    const { view } = this;
    const line = 1.5 / view.zoom;
    context.lineWidth = line;
    context.setLineDash([4 * line, 3 * line]);
    for (const rectangle of this.regionsHere()) outlined(context, rectangle);
    if (this.tool === "region" && this.points.length > 1) {
      const [a, b] = this.points;
      outlined(context, [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.abs(a.x - b.x), Math.abs(a.y - b.y)]);
    }
    context.setLineDash([]);
    if (this.points.length && this.tool !== "region") this.drawPoints(context);
    if (this.cursor && (this.tool === "brush" || this.tool === "erase")) {
      context.beginPath();
      context.ellipse(this.cursor.x + 0.5, this.cursor.y + 0.5, this.radius + 0.5, this.radius + 0.5, 0, 0, 7);
      stroked(context, line);
    } else if (this.cursor && this.keyboard) outlined(context, [this.cursor.x, this.cursor.y, 1, 1]);
  }

  drawPoints(context) {
    context.beginPath();
    for (const point of this.points) context.lineTo(point.x + 0.5, point.y + 0.5);
    if (this.tool === "polygon" && this.cursor) context.lineTo(this.cursor.x + 0.5, this.cursor.y + 0.5);
    stroked(context, context.lineWidth);
  }

  regionsHere() {
    const { editor, view } = this;
    const [rows, columns] = planeAxes(editor.meta, view.plane.axis);
    const cut = editor.meta.shape.map((_, axis) => axis).filter((axis) => axis !== rows && axis !== columns);
    return editor.meta.regions
      .filter(([start, stop]) => cut.every((axis) => start[axis] <= view.plane.index && view.plane.index < stop[axis]))
      .map(([start, stop]) => [start[columns], start[rows], stop[columns] - start[columns], stop[rows] - start[rows]]);
  }
}

function clipped(a, b, size) {
  return [Math.max(0, Math.min(a, b)), Math.min(size, Math.max(a, b) + 1)];
}

function outlined(context, [x, y, width, height]) {
  context.beginPath();
  context.rect(x, y, width, height);
  stroked(context, context.lineWidth);
}

/** White on black, visible on every image. */
function stroked(context, width) {
  context.strokeStyle = "#000";
  context.lineWidth = 2.4 * width;
  context.stroke();
  context.strokeStyle = "#fff";
  context.lineWidth = width;
  context.stroke();
}
