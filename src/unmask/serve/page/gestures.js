// Mouse, pen, touch and keyboard on the canvas: which pixels a tool is used on.

// Button of the blunt end of a pen.
const BLUNT = 5;

export class Gestures {
  constructor(canvas, view, handler) {
    this.view = view;
    this.handler = handler;
    this.pointers = new Map();
    this.drawing = null;
    this.moving = false;
    this.space = false;
    canvas.addEventListener("pointerdown", (event) => this.down(event, canvas));
    canvas.addEventListener("pointermove", (event) => this.move(event, canvas));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.up(event, canvas));
    canvas.addEventListener("dblclick", () => handler.gesture("close"));
    canvas.addEventListener("pointerleave", () => handler.hover(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
  }

  point(event, canvas) {
    const area = canvas.getBoundingClientRect();
    return { x: event.clientX - area.left, y: event.clientY - area.top };
  }

  down(event, canvas) {
    canvas.focus({ preventScroll: true });
    const point = this.point(event, canvas);
    this.pointers.set(event.pointerId, point);
    canvas.setPointerCapture(event.pointerId);
    if (this.pointers.size > 1) {
      // A second finger: not a stroke, but a pinch.
      if (this.drawing !== null) this.handler.cancel();
      this.drawing = null;
      this.moving = true;
      return;
    }
    this.moving = event.button === 1 || this.handler.tool === "pan";
    this.still = this.moving && event.button === 0 ? point : null;
    if (this.moving || (event.button !== 0 && event.button !== BLUNT)) return;
    this.drawing = event.pointerId;
    this.handler.gesture("press", this.view.toImage(point), event);
  }

  move(event, canvas) {
    const point = this.point(event, canvas);
    const before = this.pointers.get(event.pointerId);
    this.handler.hover(this.view.toImage(point));
    if (!before) return;
    if (this.moving) this.pan(event.pointerId, before, point);
    else if (event.pointerId === this.drawing) {
      // Between two frames a fast pen reports several points.
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) {
        this.handler.gesture("drag", this.view.toImage(this.point(each, canvas)));
      }
    }
    this.pointers.set(event.pointerId, point);
  }

  pan(id, before, point) {
    const other = [...this.pointers].find(([each]) => each !== id)?.[1];
    const share = other ? 0.5 : 1;
    this.view.moveBy((point.x - before.x) * share, (point.y - before.y) * share);
    if (!other) return;
    const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y) || 1;
    const middle = { x: (point.x + other.x) / 2, y: (point.y + other.y) / 2 };
    this.view.zoomBy(apart(point) / apart(before), middle);
  }

  up(event, canvas) {
    this.pointers.delete(event.pointerId);
    if (event.pointerId === this.drawing) {
      this.drawing = null;
      if (event.type === "pointercancel") this.handler.cancel();
      else this.handler.gesture("release", this.view.toImage(this.point(event, canvas)));
    }
    if (!this.pointers.size) this.moving = false;
    const end = this.point(event, canvas);
    const click = this.still && Math.hypot(end.x - this.still.x, end.y - this.still.y) < 4;
    if (click) this.handler.gesture("pick", this.view.toImage(end));
    this.still = null;
  }

  wheel(event, canvas) {
    event.preventDefault();
    this.view.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.point(event, canvas));
  }
}
