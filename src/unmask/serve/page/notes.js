// Notes on an image: boxes, marks of objects that are right, and whether it is held out. They are
// saved like strokes, with the version that they were made on.

import { getJson, send } from "./server.js";

export class Notes {
  /** shown(image) is called when the notes on an image have changed. */
  constructor(saver, shown) {
    this.saver = saver;
    this.shown = shown;
    this.known = new Map();
    // Counts changes: what the server said before one of them is not the newest.
    this.changes = 0;
  }

  /** Take what the server says of an image, unless a change came between the request and now. */
  take(image, found, changes) {
    const older = changes !== this.changes || this.saver.of(image, "notes").length;
    if (older && this.known.has(image)) return;
    this.learn(image, found);
  }

  /** What the server says of an image, with the changes that it does not know yet. */
  async read(image, known = null) {
    const { changes } = this;
    const found = known ?? await getJson(`/api/image/${image}`);
    this.take(image, found, changes);
    return { ...found, ...this.now(image) };
  }

  learn(image, { regions, held_out, right, notes_version }) {
    this.known.set(image, { regions, held_out, right });
    this.saver.setVersion(image, notes_version, "notes");
  }

  addBox(image, box) {
    const same = (other) => JSON.stringify(other) === JSON.stringify(box);
    this.change(image, ({ regions }) => ({ regions: regions.some(same) ? regions : [...regions, box] }));
  }

  removeBoxes(image) {
    this.change(image, () => ({ regions: [] }));
  }

  holdOut(image, held_out) {
    this.change(image, () => ({ held_out }));
  }

  /** Mark an object as right, or take the mark away. */
  mark(image, id, isRight) {
    this.change(image, ({ right }) => {
      const others = right.filter((each) => each !== id);
      return { right: isRight ? [...others, id] : others };
    });
  }

  /** Change notes by make(notes), which returns the fields that become different. */
  change(image, make) {
    this.changes += 1;
    this.saver.push({
      image,
      kind: "notes",
      make,
      deliver: async (version) => {
        const headers = { "if-match": `"${version}"` };
        const found = await send("PATCH", `/api/image/${image}`, make(this.known.get(image)), headers);
        this.changes += 1;
        this.learn(image, found);
        return { version: found.notes_version };
      },
      // Somebody else was quicker: if this change is kept, it is made on top of theirs.
      onConflict: (found) => this.learn(image, found),
    });
    this.shown(image);
  }

  /** Notes on an image with the changes that are not saved yet. */
  now(image) {
    const known = this.known.get(image);
    return this.saver.of(image, "notes").reduce((notes, each) => ({ ...notes, ...each.make(notes) }), known);
  }
}

