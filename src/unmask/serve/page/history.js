// Changes that can be undone, as runs of pixels: [start, length, before, after].
// Positions count in the whole plane, so they stay right when another window of it is loaded.

const STEPS = 200;
const RUNS = 8_000_000;

/** Collects the pixels that one action changes. */
export class Recorder {
  constructor(plane) {
    this.plane = plane;
    this.before = new Map();
    this.dirty = null;
  }

  /** Change a pixel; to be given to the tools. */
  write = (position, id) => {
    if (!this.before.has(position)) this.before.set(position, this.plane.ids[position]);
    this.plane.ids[position] = id;
    this.dirty = grown(this.dirty, position, this.plane.width);
  };

  /** The part that changed since the last call, for saving and drawing; null if there is none. */
  take() {
    const dirty = this.dirty;
    this.dirty = null;
    return dirty;
  }

  /** Runs of all changes, in coordinates of the whole plane. */
  runs(offset, planeWidth) {
    const { ids, width } = this.plane;
    const runs = [];
    let last = null;
    for (const position of [...this.before.keys()].sort((a, b) => a - b)) {
      const before = this.before.get(position);
      const after = ids[position];
      if (before === after) continue;
      const column = position % width;
      const place = ((position - column) / width + offset.row) * planeWidth + column + offset.column;
      const joins = last && last[0] + last[1] === place && column > 0;
      if (joins && last[2] === before && last[3] === after) last[1] += 1;
      else runs.push((last = [place, 1, before, after]));
    }
    return runs;
  }
}

/** A rectangle that holds one more pixel. */
function grown(rectangle, position, width) {
  const column = position % width;
  const row = (position - column) / width;
  if (!rectangle) return { top: row, left: column, bottom: row + 1, right: column + 1 };
  rectangle.top = Math.min(rectangle.top, row);
  rectangle.left = Math.min(rectangle.left, column);
  rectangle.bottom = Math.max(rectangle.bottom, row + 1);
  rectangle.right = Math.max(rectangle.right, column + 1);
  return rectangle;
}

/** Undo and redo of up to 200 steps. */
export class History {
  constructor() {
    this.clear();
  }

  clear() {
    this.done = [];
    this.undone = [];
  }

  add(step) {
    this.undone = [];
    this.done.push(step);
    let size = this.done.reduce((sum, each) => sum + each.runs.length, 0);
    while (this.done.length > STEPS || (size > RUNS && this.done.length > 1)) {
      size -= this.done.shift().runs.length;
    }
  }

  /** The step to take back, or null; `write` values with `before(run)`. */
  undo() {
    const step = this.done.pop();
    if (!step) return null;
    this.undone.push(step);
    return { ...step, value: 2 };
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    this.done.push(step);
    return { ...step, value: 3 };
  }
}

/** Values of an array as runs [start, length, before, after] between two states of it. */
export function difference(before, after) {
  const runs = [];
  let last = null;
  for (let position = 0; position < before.length; position += 1) {
    if (before[position] === after[position]) continue;
    const joins = last && last[0] + last[1] === position;
    if (joins && last[2] === before[position] && last[3] === after[position]) last[1] += 1;
    else runs.push((last = [position, 1, before[position], after[position]]));
  }
  return runs;
}
