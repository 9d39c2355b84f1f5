// The picture: where the image is on the screen, and the tiles that are visible.

const CACHE = 300;
const AT_ONCE = 6;
const MOST_ZOOM = 64;

/** The spatial axes that lie in a plane: rows and columns. */
export function planeAxes(meta, axis) {
  const axes = meta.shape.map((_, number) => number);
  if (axes.length > 2) axes.splice(axis, 1);
  return axes;
}

export class View {
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.onChange = onChange;
    this.tiles = new Map();
    this.queue = [];
    this.running = 0;
    this.generation = 0;
    this.meta = null;
    this.tooCoarse = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  open(meta, plane, channels) {
    this.meta = meta;
    this.channels = channels;
    this.setPlane(plane);
    this.fit();
  }

  setPlane(plane) {
    this.plane = plane;
    const [rows, columns] = planeAxes(this.meta, plane.axis);
    this.height = this.meta.shape[rows];
    this.width = this.meta.shape[columns];
    const spacing = this.meta.spacing;
    // Voxels that are longer along the rows are shown longer.
    this.aspect = spacing ? spacing[rows] / spacing[columns] : 1;
    this.forget();
  }

  /** Contrast or channels have changed: every tile is another picture. */
  forget() {
    this.generation += 1;
    this.tiles.clear();
    this.queue = [];
    this.onChange();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth || !clientHeight) return;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.ratio = ratio;
    if (this.meta && !this.moved) this.fit();
    this.onChange();
  }

  fit() {
    if (!this.meta || !this.canvas.clientWidth) return;
    const { clientWidth, clientHeight } = this.canvas;
    this.zoom = Math.min(clientWidth / this.width, clientHeight / (this.height * this.aspect), MOST_ZOOM);
    this.x = (clientWidth - this.width * this.zoom) / 2;
    this.y = (clientHeight - this.height * this.zoom * this.aspect) / 2;
    this.moved = false;
    this.onChange();
  }

  zoomBy(factor, at) {
    const most = Math.min(MOST_ZOOM, this.zoom * factor);
    const least = Math.min(0.5, this.canvas.clientWidth / this.width / 4);
    const zoom = Math.max(least, most);
    const point = at ?? { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 };
    this.x = point.x - ((point.x - this.x) * zoom) / this.zoom;
    this.y = point.y - ((point.y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.moved = true;
    this.onChange();
  }

  moveBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.moved = true;
    this.onChange();
  }

  /** Move so that a pixel of the plane is in the middle, if it is not visible. */
  show(row, column) {
    const point = this.toScreen({ x: column, y: row });
    const { clientWidth, clientHeight } = this.canvas;
    const visible = point.x >= 0 && point.y >= 0 && point.x < clientWidth && point.y < clientHeight;
    if (!visible) this.moveBy(clientWidth / 2 - point.x, clientHeight / 2 - point.y);
  }

  /** Pixel of the plane under a point of the canvas; may lie outside of the plane. */
  toImage(point) {
    return { x: Math.floor((point.x - this.x) / this.zoom), y: Math.floor((point.y - this.y) / (this.zoom * this.aspect)) };
  }

  /** Upper left corner of a pixel on the canvas. */
  toScreen(pixel) {
    return { x: this.x + pixel.x * this.zoom, y: this.y + pixel.y * this.zoom * this.aspect };
  }

  /** The visible part of the plane in pixels. */
  visible() {
    const first = this.toImage({ x: 0, y: 0 });
    const last = this.toImage({ x: this.canvas.clientWidth, y: this.canvas.clientHeight });
    return {
      left: Math.max(0, first.x),
      top: Math.max(0, first.y),
      right: Math.min(this.width, last.x + 1),
      bottom: Math.min(this.height, last.y + 1),
    };
  }

  draw(drawMore) {
    const { context, canvas } = this;
    // Programs that drive the page find a pixel on the screen by these numbers.
    if (this.zoom) canvas.dataset.view = [this.x, this.y, this.zoom, this.aspect].join();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = getComputedStyle(canvas).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!this.meta || !this.zoom) return;
    context.setTransform(
      this.ratio * this.zoom, 0, 0, this.ratio * this.zoom * this.aspect,
      this.ratio * this.x, this.ratio * this.y,
    );
    context.imageSmoothingEnabled = this.zoom < 1;
    this.drawTiles();
    drawMore(context);
  }

  drawTiles() {
    const levels = this.meta.levels[this.plane.axis];
    const wanted = Math.max(0, Math.floor(Math.log2(1 / this.zoom) + 0.5));
    const level = Math.min(wanted, levels - 1);
    // Without coarser levels, a picture of everything would read everything.
    this.tooCoarse = wanted > level + 1;
    this.queue = [];
    // Coarser tiles stand in until the finer ones are there.
    let missing = 0;
    for (let each = levels - 1; each >= level; each -= 1) missing = this.drawLevel(each, each === level && !this.tooCoarse);
    this.canvas.dataset.drawn = missing ? "some" : "all";
    this.load();
  }

  /** Draw the tiles that are there; the number of those that are not. */
  drawLevel(level, request) {
    let missing = 0;
    const size = this.meta.tile * 2 ** level;
    const { left, top, right, bottom } = this.visible();
    for (let row = Math.floor(top / size); row * size < bottom; row += 1) {
      for (let column = Math.floor(left / size); column * size < right; column += 1) {
        const key = `${level}/${row}/${column}`;
        const tile = this.tiles.get(key);
        if (tile) {
          const scale = 2 ** level;
          this.context.drawImage(tile, column * size, row * size, tile.width * scale, tile.height * scale);
          this.tiles.delete(key);
          this.tiles.set(key, tile);
          continue;
        }
        missing += 1;
        if (request && tile !== null) this.queue.push({ key, level, row, column });
      }
    }
    return missing;
  }

  address({ level, row, column }) {
    const channels = this.channels
      .filter((channel) => channel.visible)
      .map((channel) => `${channel.number}:${channel.low}:${channel.high}:${channel.color}`)
      .join();
    const query = new URLSearchParams({
      channels, axis: this.plane.axis, index: this.plane.index, level, at: `${row},${column}`,
    });
    return `/api/image/${this.meta.id}/tile?${query}`;
  }

  load() {
    while (this.running < AT_ONCE && this.queue.length) this.fetchTile(this.queue.shift());
  }

  async fetchTile(wanted) {
    const { generation } = this;
    this.running += 1;
    // Null: asked for. A failed tile is asked for again when the view changes.
    this.tiles.set(wanted.key, null);
    try {
      const response = await fetch(this.address(wanted));
      if (!response.ok) throw new Error(response.status);
      const tile = await createImageBitmap(await response.blob());
      if (generation === this.generation) this.tiles.set(wanted.key, tile);
      while (this.tiles.size > CACHE) this.tiles.delete(this.tiles.keys().next().value);
    } catch {
      if (generation === this.generation) setTimeout(() => this.tiles.delete(wanted.key), 1000);
    } finally {
      this.running -= 1;
      if (generation === this.generation) this.onChange();
      else this.load();
    }
  }
}
