// The list of images. Of thousands only the rows in sight are in the page, and their pictures are
// fetched two at a time: a browser has six connections, and the image that is open needs them first.

import { TEXTS, text } from "./texts.js";

// Height of a row in pixels, as in style.css.
const ROW = 56;
// Rows beyond the visible ones, so that the Tab key and a quick scroll find them there.
const AROUND = 6;
const AT_ONCE = 2;

export class ImageList {
  /** open(id) is called for an image, explain(problem) for a file that is none, found() when one is met. */
  constructor(list, { open, explain, found }) {
    Object.assign(this, { list, open, explain, found });
    this.images = [];
    this.items = new Map();
    this.waiting = [];
    this.loading = 0;
    list.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(list);
  }

  /** Show these images; a current one that is new is scrolled into view. */
  show(images, current) {
    this.images = images;
    const moved = current !== this.current;
    this.current = current;
    const row = moved ? images.findIndex((image) => image.id === current) : -1;
    if (row >= 0) this.reveal(row);
    this.draw();
  }

  reveal(row) {
    const { list } = this;
    const top = row * ROW;
    if (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight) {
      this.draw(row);
      list.scrollTop = top - (list.clientHeight - ROW) / 2;
    }
  }

  draw(row = Math.floor(this.list.scrollTop / ROW)) {
    const { list, images } = this;
    const visible = Math.ceil(list.clientHeight / ROW) + 1;
    const first = Math.max(0, Math.min(row, images.length - visible) - AROUND);
    const last = Math.min(images.length, first + visible + 2 * AROUND);
    list.style.setProperty("--above", `${first * ROW}px`);
    list.style.setProperty("--below", `${(images.length - last) * ROW}px`);
    const shown = new Set(images.slice(first, last).map((image) => image.id));
    for (const [id, item] of this.items) {
      if (shown.has(id)) continue;
      item.remove();
      this.items.delete(id);
    }
    // What stays is not moved: it would lose the keyboard.
    let next = list.firstElementChild;
    for (let each = first; each < last; each += 1) {
      const item = this.item(images[each]);
      this.fill(item, images[each]);
      item.setAttribute("aria-setsize", images.length);
      item.setAttribute("aria-posinset", each + 1);
      if (item === next) next = next.nextElementSibling;
      else list.insertBefore(item, next);
    }
    this.load();
  }

  item(image) {
    let item = this.items.get(image.id);
    if (!item) {
      item = document.createElement("li");
      const button = document.createElement("button");
      const picture = document.createElement("img");
      picture.alt = "";
      picture.width = picture.height = 48;
      button.append(picture, document.createElement("span"));
      button.dataset.id = image.id;
      item.append(button);
      this.items.set(image.id, item);
      if (!image.problem) this.waiting.push({ picture, address: `/api/image/${image.id}/thumbnail` });
    }
    return item;
  }

  /** Fetch the next pictures; rows that are out of sight by now are left out. */
  load() {
    this.waiting = this.waiting.filter(({ picture }) => picture.isConnected);
    while (this.loading < AT_ONCE && this.waiting.length) {
      const { picture, address } = this.waiting.shift();
      this.loading += 1;
      const end = () => {
        this.loading -= 1;
        this.load();
      };
      picture.onload = end;
      picture.onerror = () => {
        picture.style.visibility = "hidden";
        end();
        this.found();
      };
      picture.src = address;
    }
  }

  /** Write what is known of an image into its row. */
  fill(item, image) {
    const current = image.id === this.current;
    const key = JSON.stringify([image, current]);
    if (item.dataset.shown === key) return;
    item.dataset.shown = key;
    const button = item.firstElementChild;
    const state = document.createElement("small");
    state.textContent = TEXTS.states[image.state] + (image.objects ? `, ${image.objects}` : "");
    if (image.doubt !== null && !image.labeled) state.textContent += `, ${text("doubt")} ${image.doubt.toFixed(2)}`;
    if (image.corrections) state.textContent = text("correctedOf", image);
    button.lastElementChild.replaceChildren(image.name, state);
    button.title = image.problem || image.file;
    // A click says why an image cannot be used, also where nothing hovers.
    button.onclick = () => (image.problem ? this.explain(image.problem) : this.open(image.id));
    button.setAttribute("aria-current", current);
    button.dataset.state = image.state;
  }
}
