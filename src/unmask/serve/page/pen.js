// The pen of the keyboard: arrows move it, one key presses and lifts it.

// Tools that draw from press to lift; all others act on one point.
const DRAWING = ["brush", "erase", "split", "region"];

export class Pen {
  constructor(view, annotator) {
    Object.assign(this, { view, annotator, down: false });
  }

  /** Where it is; at first in the middle of the image. */
  get place() {
    const { width, height } = this.view;
    return this.annotator.cursor ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
  }

  move(dx, dy) {
    const at = this.place;
    const to = {
      x: Math.max(0, Math.min(this.view.width - 1, at.x + dx)),
      y: Math.max(0, Math.min(this.view.height - 1, at.y + dy)),
    };
    this.annotator.keyboard = true;
    this.annotator.hover(to);
    this.view.show(to.y, to.x);
    if (this.down) this.annotator.gesture("drag", to);
  }

  async press() {
    const at = this.place;
    this.annotator.keyboard = true;
    this.annotator.hover(at);
    const click = !DRAWING.includes(this.annotator.tool);
    const lift = this.down;
    // Noted first: the next key may come while labels are loading.
    this.down = !lift && !click;
    if (!lift) await this.annotator.gesture("press", at);
    if (lift || click) await this.annotator.gesture("release", at);
  }
}
