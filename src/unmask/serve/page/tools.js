// What a tool does to an array of object ids. Nothing here knows the page, so Node can test it.
//
// A plane is {ids: Uint32Array, width, height}. Every function calls write(position, id) for the
// pixels that change and returns nothing, unless its comment says otherwise.

/** Disc of a radius around every point of a line; radius 0 is one pixel. */
export function paintLine(plane, from, to, radius, id, overwrite, write) {
  const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
  for (let step = 0; step <= steps; step += 1) {
    const x = Math.round(from.x + ((to.x - from.x) * step) / steps);
    const y = Math.round(from.y + ((to.y - from.y) * step) / steps);
    paintDisc(plane, x, y, radius, id, overwrite, write);
  }
}

function paintDisc(plane, x, y, radius, id, overwrite, write) {
  const { ids, width, height } = plane;
  // Pixels whose center is at most radius and a half away: this looks round at every size.
  const reach = (radius + 0.5) * (radius + 0.5);
  for (let row = Math.max(0, y - radius); row <= Math.min(height - 1, y + radius); row += 1) {
    const half = Math.floor(Math.sqrt(Math.max(0, reach - (row - y) * (row - y))));
    const last = Math.min(width - 1, x + half);
    for (let column = Math.max(0, x - half); column <= last; column += 1) {
      const position = row * width + column;
      const before = ids[position];
      // Other objects are protected, unless the user wants to paint over them.
      if (before !== id && (id === 0 || before === 0 || overwrite)) write(position, id);
    }
  }
}

/** All pixels whose center lies inside a polygon, by the even-odd rule. */
export function paintPolygon(plane, points, id, overwrite, write) {
  const { ids, width, height } = plane;
  for (let row = 0; row < height; row += 1) {
    for (const [first, last] of spans(points, row, width)) {
      for (let column = first; column <= last; column += 1) {
        const position = row * width + column;
        const before = ids[position];
        if (before !== id && (before === 0 || overwrite)) write(position, id);
      }
    }
  }
}

/** Runs of a row that lie in a polygon or on its outline. */
function spans(points, row, width) {
  // Each rule leaves out the corners and level edges at one end, which are part of what was drawn.
  return [(y) => y <= row, (y) => y < row].flatMap((above) => crossed(points, row, width, above));
}

function crossed(points, row, width, above) {
  const crossings = [];
  for (let number = 0; number < points.length; number += 1) {
    const a = points[number];
    const b = points[(number + 1) % points.length];
    if (above(a.y) !== above(b.y)) crossings.push(a.x + ((row - a.y) * (b.x - a.x)) / (b.y - a.y));
  }
  crossings.sort((a, b) => a - b);
  const found = [];
  for (let number = 0; number + 1 < crossings.length; number += 2) {
    const first = Math.max(0, Math.ceil(crossings[number]));
    const last = Math.min(width - 1, Math.floor(crossings[number + 1]));
    if (first <= last) found.push([first, last]);
  }
  return found;
}

/** Positions connected to a pixel (no diagonals) for which same(position) holds. */
export function connected(plane, start, same) {
  const { width, height } = plane;
  const seen = new Uint8Array(width * height);
  const found = [];
  const stack = [start];
  seen[start] = 1;
  while (stack.length) {
    const position = stack.pop();
    found.push(position);
    for (const next of neighbors(position, width, height)) {
      if (!seen[next] && same(next)) {
        seen[next] = 1;
        stack.push(next);
      }
    }
  }
  return found;
}

function neighbors(position, width, height) {
  const column = position % width;
  const found = [];
  if (column > 0) found.push(position - 1);
  if (column < width - 1) found.push(position + 1);
  if (position >= width) found.push(position - width);
  if (position < width * (height - 1)) found.push(position + width);
  return found;
}

/** Fill the background that an outline encloses; false if it reaches the border of the plane. */
export function fill(plane, start, id, write) {
  const { ids, width, height } = plane;
  const inside = connected(plane, start, (position) => ids[position] === 0);
  const open = inside.some((position) => {
    const column = position % width;
    const row = (position - column) / width;
    return column === 0 || row === 0 || column === width - 1 || row === height - 1;
  });
  if (open) return false;
  for (const position of inside) write(position, id);
  return true;
}

/** The object that borders most on the background around a pixel; 0 if there is none. */
export function enclosing(plane, start) {
  const { ids, width, height } = plane;
  const votes = new Map();
  for (const position of connected(plane, start, (p) => ids[p] === 0)) {
    for (const next of neighbors(position, width, height)) {
      if (ids[next]) votes.set(ids[next], (votes.get(ids[next]) || 0) + 1);
    }
  }
  return [...votes].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 0;
}

/** Pixels connected to one whose gray value differs by no more than a tolerance. */
export function fillSimilar(plane, gray, start, tolerance, id, write) {
  const level = gray[start];
  const same = (p) => plane.ids[p] === 0 && Math.abs(gray[p] - level) <= tolerance;
  for (const position of connected(plane, start, same)) write(position, id);
}

/** Divide every object that a line crosses; the new ids, empty if no object fell apart. */
export function splitByLine(plane, points, nextId, write) {
  const { ids, width, height } = plane;
  const line = new Set(linePositions(points, width, height));
  const crossed = new Set([...line].map((position) => ids[position]).filter((id) => id > 0));
  const fresh = [];
  for (const id of crossed) {
    const pieces = piecesOf(plane, id, line);
    if (pieces.length < 2) continue;
    const owner = new Map();
    pieces.forEach((piece, number) => {
      const own = number === 0 ? id : nextId + fresh.length;
      if (number > 0) fresh.push(own);
      for (const position of piece) owner.set(position, own);
    });
    assignLine(plane, id, line, owner);
    for (const [position, own] of owner) if (ids[position] !== own) write(position, own);
  }
  return fresh;
}

/** Connected pieces of an object without the pixels of a line, the largest first. */
function piecesOf(plane, id, line) {
  const { ids } = plane;
  const seen = new Set();
  const pieces = [];
  for (let position = 0; position < ids.length; position += 1) {
    if (ids[position] !== id || line.has(position) || seen.has(position)) continue;
    const piece = connected(plane, position, (p) => ids[p] === id && !line.has(p));
    for (const each of piece) seen.add(each);
    pieces.push(piece);
  }
  return pieces.sort((a, b) => b.length - a.length);
}

/** Pixels of the line join the piece next to them, so that no gap stays. */
function assignLine(plane, id, line, owner) {
  const { ids, width, height } = plane;
  let waiting = [...line].filter((position) => ids[position] === id);
  while (waiting.length) {
    const joined = [];
    for (const position of waiting) {
      const next = neighbors(position, width, height).find((p) => owner.has(p));
      if (next !== undefined) joined.push([position, owner.get(next)]);
    }
    if (!joined.length) return;
    for (const [position, own] of joined) owner.set(position, own);
    waiting = waiting.filter((position) => !owner.has(position));
  }
}

/** Pixels of a line without diagonal steps: four-connected pieces cannot leak through it. */
export function linePositions(points, width, height) {
  const found = [];
  const add = (x, y) => {
    if (x >= 0 && y >= 0 && x < width && y < height) found.push(y * width + x);
  };
  for (let number = 0; number + 1 < points.length; number += 1) {
    let { x, y } = points[number];
    const to = points[number + 1];
    const dx = Math.abs(to.x - x);
    const dy = Math.abs(to.y - y);
    let error = dx - dy;
    add(x, y);
    while (x !== to.x || y !== to.y) {
      const doubled = 2 * error;
      if (doubled > -dy && x !== to.x) {
        error -= dy;
        x += Math.sign(to.x - x);
      } else {
        error += dx;
        y += Math.sign(to.y - y);
      }
      add(x, y);
    }
  }
  return found;
}

/** Give an object another id; 0 deletes it. */
export function relabel(plane, id, other, write) {
  const { ids } = plane;
  for (let position = 0; position < ids.length; position += 1) {
    if (ids[position] === id) write(position, other);
  }
}

/** Fill the slices of an object between those that it is drawn on; the number of filled slices. */
export function interpolate(ids, shape, axis, id) {
  const steps = [shape[1] * shape[2], shape[2], 1];
  const [rows, columns] = [0, 1, 2].filter((each) => each !== axis);
  const [height, width] = [shape[rows], shape[columns]];
  const at = (index, p) => index * steps[axis] + Math.floor(p / width) * steps[rows] + (p % width) * steps[columns];
  const inside = (index) => Uint8Array.from({ length: height * width }, (_, p) => ids[at(index, p)] === id);
  let last = null;
  let filled = 0;
  for (let index = 0; index < shape[axis]; index += 1) {
    const mask = inside(index);
    if (!mask.includes(1)) continue;
    const depth = signedDepth(mask, width, height);
    for (let between = last ? last.index + 1 : index; between < index; between += 1) {
      const share = (between - last.index) / (index - last.index);
      for (let p = 0; p < mask.length; p += 1) {
        const position = at(between, p);
        // Other objects are protected, as from the brush.
        if ((1 - share) * last.depth[p] + share * depth[p] > 0 && ids[position] === 0) ids[position] = id;
      }
      filled += 1;
    }
    last = { index, depth };
  }
  return filled;
}

/** Distance to the border of a mask, positive inside; diagonal steps count their length. */
function signedDepth(mask, width, height) {
  const inner = distance(mask, 0, width, height);
  const outer = distance(mask, 1, width, height);
  return inner.map((value, p) => (mask[p] ? value - 0.5 : 0.5 - outer[p]));
}

/** Distance of every pixel to the nearest one whose value is `zero`, in two passes. */
function distance(mask, zero, width, height) {
  const far = width + height;
  const found = Float32Array.from(mask, (value) => (value === zero ? 0 : far));
  const sweep = (forward) => {
    const sign = forward ? -1 : 1;
    const around = [[0, sign, 1], [sign, 0, 1], [sign, -1, Math.SQRT2], [sign, 1, Math.SQRT2]];
    for (let number = 0; number < found.length; number += 1) {
      const p = forward ? number : found.length - 1 - number;
      const [row, column] = [Math.floor(p / width), p % width];
      for (const [dy, dx, length] of around) {
        const [y, x] = [row + dy, column + dx];
        if (y < 0 || x < 0 || y >= height || x >= width) continue;
        found[p] = Math.min(found[p], found[y * width + x] + length);
      }
    }
  };
  sweep(true);
  sweep(false);
  return found;
}
