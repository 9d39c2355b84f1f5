// The labels of the plane that is shown: loading, changing, drawing, undoing them.

import { difference, History, Recorder } from "./history.js";
import { readLabels } from "./server.js";
import { planeAxes } from "./view.js";

// Edge of the part of a plane that labels are loaded of; larger planes are loaded where they are seen.
const MOST = 4096;
// What is loaded beyond the visible part of a larger plane, so that small moves load nothing.
const MARGIN = 512;
// Slices before and after the visible one that are predicted with it.
const SLICES = 16;
const FILLED = 105;
const EDGE = 235;

export class Editor {
  constructor(view, saver, onChange) {
    this.view = view;
    this.saver = saver;
    this.onChange = onChange;
    this.history = new History();
    this.outline = false;
    this.layer = "labels";
    this.plane = null;
    this.meta = null;
    this.top = 0;
  }

  async open(meta, layer) {
    this.meta = meta;
    this.layer = layer;
    this.history.clear();
    this.top = meta.top;
    this.saver.setVersion(meta.id, meta.version);
    await this.load();
  }

  /** Labels of the visible window; none as long as too much of a large plane is visible. */
  load() {
    // No stroke may reach the labels of the plane that was shown before.
    this.plane = null;
    this.view.canvas.dataset.plane = "";
    const shown = [this.meta.id, this.layer, this.view.plane.axis, this.view.plane.index].join();
    if (shown !== this.shown) this.overlay = null;
    this.shown = shown;
    return this.wait(this.loadWindow());
  }

  /** Let gestures wait for a change of the labels that takes a moment. */
  wait(work) {
    const waiting = Promise.allSettled([this.busy, work]);
    this.busy = waiting;
    waiting.then(() => {
      if (this.busy === waiting) this.busy = null;
    });
    return work;
  }

  async loadWindow() {
    const { meta, view } = this;
    const window = this.wantedWindow();
    this.request = (this.request ?? 0) + 1;
    const { request } = this;
    if (!window) {
      this.overlay = null;
      this.onChange();
      return;
    }
    await this.saver.run();
    const { ids, version } = await readLabels(meta.id, this.box(window, view.plane), this.layer);
    // Another image or slice was opened meanwhile.
    if (request !== this.request) return;
    if (this.layer === "labels") this.saver.setVersion(meta.id, version);
    this.plane = { ids, width: window.width, height: window.height, row: window.row, column: window.column };
    for (const id of ids) if (id > this.top) this.top = id;
    this.place = { row: window.row, column: window.column };
    this.overlay = new OffscreenCanvas(window.width, window.height);
    this.pen = this.overlay.getContext("2d");
    this.paint({ top: 0, left: 0, bottom: window.height, right: window.width });
    view.canvas.dataset.plane = [view.plane.axis, view.plane.index].join();
    this.onChange();
  }

  wantedWindow() {
    const { view } = this;
    if (view.width <= MOST && view.height <= MOST) {
      return { row: 0, column: 0, height: view.height, width: view.width };
    }
    const seen = view.visible();
    if (seen.right - seen.left > MOST || seen.bottom - seen.top > MOST) return null;
    const height = Math.min(seen.bottom - seen.top + MARGIN, view.height);
    const width = Math.min(seen.right - seen.left + MARGIN, view.width);
    const row = Math.round((seen.top + seen.bottom - height) / 2);
    const column = Math.round((seen.left + seen.right - width) / 2);
    return {
      row: Math.max(0, Math.min(row, view.height - height)),
      column: Math.max(0, Math.min(column, view.width - width)),
      height,
      width,
    };
  }

  /** Load another window if the visible part has left this one. */
  follow() {
    if (!this.meta || (this.view.width <= MOST && this.view.height <= MOST)) return;
    const { plane } = this;
    const seen = this.view.visible();
    if (!plane && this.busy) return;
    const inside =
      plane && seen.top >= plane.row && seen.left >= plane.column &&
      seen.bottom <= plane.row + plane.height && seen.right <= plane.column + plane.width;
    if (!inside) this.load();
  }

  /** A rectangle of a plane as a box of the image. */
  box({ row, column, height, width }, { axis, index }) {
    const start = this.meta.shape.map(() => index);
    const stop = start.map((each) => each + 1);
    const [rows, columns] = planeAxes(this.meta, axis);
    start[rows] = row;
    stop[rows] = row + height;
    start[columns] = column;
    stop[columns] = column + width;
    return { start, stop };
  }

  /** The visible part of the plane, with some slices before and after it in a volume. */
  visibleBox() {
    const { left, top, right, bottom } = this.view.visible();
    const { plane } = this.view;
    const box = this.box({ row: top, column: left, height: bottom - top, width: right - left }, plane);
    if (this.meta.shape.length > 2) {
      const { axis, index } = plane;
      box.start[axis] = Math.max(0, index - SLICES);
      box.stop[axis] = Math.min(this.meta.shape[axis], index + SLICES + 1);
    }
    return [box.start, box.stop];
  }

  /** Pixel of the loaded window from one of the whole plane; null outside of it. */
  local(pixel) {
    const { plane } = this;
    if (!plane) return null;
    const x = pixel.x - plane.column;
    const y = pixel.y - plane.row;
    return { x, y, inside: x >= 0 && y >= 0 && x < plane.width && y < plane.height };
  }

  at(pixel) {
    return pixel?.inside ? this.plane.ids[pixel.y * this.plane.width + pixel.x] : 0;
  }

  newId() {
    this.top += 1;
    return this.top;
  }

  /** Start to record a change. */
  begin() {
    this.recorder = new Recorder(this.plane);
    this.flushed = performance.now();
    this.unsaved = null;
    return this.recorder.write;
  }

  /** Show what has changed so far, and save it now and then. */
  progress() {
    const dirty = this.recorder?.take();
    if (!dirty) return;
    this.paint(dirty);
    this.unsaved = union(this.unsaved, dirty);
    if (performance.now() - this.flushed > 500) {
      this.flushed = performance.now();
      this.store(this.unsaved);
      this.unsaved = null;
    }
  }

  /** End a change: it can be undone, and is saved. */
  end() {
    const { recorder } = this;
    if (!recorder) return false;
    this.progress();
    if (this.unsaved) this.store(this.unsaved);
    this.recorder = null;
    const runs = recorder.runs(this.plane, this.view.width);
    if (runs.length) this.history.add({ plane: { ...this.view.plane }, runs });
    return runs.length > 0;
  }

  store({ top, left, bottom, right }) {
    const { plane } = this;
    const height = bottom - top;
    const width = right - left;
    const ids = new Uint32Array(height * width);
    for (let row = 0; row < height; row += 1) {
      const from = (top + row) * plane.width + left;
      ids.set(plane.ids.subarray(from, from + width), row * width);
    }
    const { start, stop } = this.box({ row: plane.row + top, column: plane.column + left, height, width }, this.view.plane);
    this.saver.patch(this.meta.id, start, stop.map((end, axis) => end - start[axis]), ids);
  }

  /** Take a step back or do it again; where it was, or null. */
  async step(step) {
    if (!step) return null;
    if (step.box) return this.stepBox(step);
    const width = this.view.width;
    const [first] = step.runs[0];
    const place = { row: Math.floor(first / width), column: first % width };
    const { plane: now } = this.view;
    if (step.plane.axis !== now.axis || step.plane.index !== now.index) return { ...step, place, elsewhere: true };
    this.view.show(place.row, place.column);
    if (!this.local({ x: place.column, y: place.row })?.inside) await this.load();
    const recorder = new Recorder(this.plane);
    for (const run of step.runs) {
      const row = Math.floor(run[0] / width) - this.plane.row;
      const column = (run[0] % width) - this.plane.column;
      const begin = row * this.plane.width + column;
      for (let each = 0; each < run[1]; each += 1) recorder.write(begin + each, run[step.value]);
    }
    const dirty = recorder.take();
    this.paint(dirty);
    this.store(dirty);
    return step;
  }

  /** Change all slices of a box at once, such as an object of a volume. */
  changeBox(box, change) {
    return this.wait(this.exchangeBox(box, change));
  }

  async exchangeBox(box, change) {
    await this.saver.run();
    const { ids } = await readLabels(this.meta.id, box);
    const before = ids.slice();
    change(ids);
    const runs = difference(before, ids);
    if (!runs.length) return;
    this.history.add({ box, runs });
    await this.storeBox(box, ids);
  }

  async stepBox(step) {
    await this.saver.run();
    const { ids } = await readLabels(this.meta.id, step.box);
    for (const run of step.runs) ids.fill(run[step.value], run[0], run[0] + run[1]);
    await this.storeBox(step.box, ids);
    return step;
  }

  async storeBox(box, ids) {
    this.saver.patch(this.meta.id, box.start, box.stop.map((end, axis) => end - box.start[axis]), ids);
    await this.load();
  }

  /** Draw labels into the overlay: faint inside, strong at the border of each object. */
  paint({ top, left, bottom, right }) {
    const { ids, width, height } = this.plane;
    const area = { top: Math.max(0, top - 1), left: Math.max(0, left - 1), bottom: Math.min(height, bottom + 1), right: Math.min(width, right + 1) };
    const picture = new ImageData(area.right - area.left, area.bottom - area.top);
    const pixels = new Uint32Array(picture.data.buffer);
    const inside = this.outline ? 0 : FILLED;
    let out = 0;
    for (let row = area.top; row < area.bottom; row += 1) {
      for (let column = area.left; column < area.right; column += 1, out += 1) {
        const position = row * width + column;
        const id = ids[position];
        if (id === 0) continue;
        const edge =
          (column > 0 && ids[position - 1] !== id) || (column < width - 1 && ids[position + 1] !== id) ||
          (row > 0 && ids[position - width] !== id) || (row < height - 1 && ids[position + width] !== id);
        pixels[out] = (PALETTE[id & 1023] | ((edge ? EDGE : inside) << 24)) >>> 0;
      }
    }
    this.pen.putImageData(picture, area.left, area.top);
  }

  repaint() {
    if (this.plane) this.paint({ top: 0, left: 0, bottom: this.plane.height, right: this.plane.width });
    this.onChange();
  }

  draw(context) {
    if (!this.overlay) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.overlay, this.place.column, this.place.row);
  }
}

function union(a, b) {
  if (!a) return b;
  return {
    top: Math.min(a.top, b.top), left: Math.min(a.left, b.left),
    bottom: Math.max(a.bottom, b.bottom), right: Math.max(a.right, b.right),
  };
}

/** Colors that differ from one id to the next, as little-endian BGR. */
const PALETTE = Uint32Array.from({ length: 1024 }, (_, id) => {
  // Steps of the golden ratio spread hues evenly, however many there are.
  const [red, green, blue] = rgb((id * 0.618034) % 1);
  return (blue << 16) | (green << 8) | red;
});

export function colorOf(id) {
  const value = PALETTE[id & 1023];
  return `rgb(${value & 255} ${(value >> 8) & 255} ${value >> 16})`;
}

function rgb(hue) {
  return [0, 2 / 3, 1 / 3].map((shift) => {
    const part = Math.abs((((hue + shift) % 1) * 6) - 3) - 1;
    return Math.round(70 + 185 * Math.max(0, Math.min(1, part)));
  });
}
