// What labels are, and the classes with their names: those of scribbles and of clusters.

import { colorOf } from "./editor.js";
import { element } from "./panels.js";
import { send } from "./server.js";
import { TEXTS, text } from "./texts.js";

export class Classes {
  constructor(onChange, report) {
    this.project = { kind: "objects", names: {} };
    this.ids = new Set();
    this.onChange = onChange;
    this.report = report;
    for (const [kind, name] of Object.entries(TEXTS.kinds)) element("kind").append(new Option(name, kind));
    element("kind").onchange = () => this.save({ kind: element("kind").value });
    element("add-class").onclick = () => {
      const next = Math.max(0, ...this.known()) + 1;
      this.ids.add(next);
      this.choose(next);
    };
  }

  get active() {
    return this.project.kind === "classes";
  }

  known() {
    const named = Object.keys(this.project.names).map(Number);
    return [...new Set([1, 2, ...named, ...this.ids])].sort((a, b) => a - b);
  }

  /** What the server has, and the ids of the image that is shown. */
  show(project, ids = []) {
    const before = this.project.kind;
    this.project = project;
    this.ids = new Set([...this.ids, ...ids].filter((id) => id < 256));
    element("kind").value = project.kind;
    for (const id of ["classes", "add-class", "clusters"]) element(id).classList.toggle("hidden", !this.active);
    if (this.active && before !== "classes") {
      // Scribbles may cross each other; the last one counts.
      element("overwrite").checked = true;
      if (!element("drawn-id").value) element("drawn-id").value = 1;
    } else if (!this.active && before === "classes") {
      element("overwrite").checked = false;
      element("drawn-id").value = "";
    }
    // A name that is being written stays as it is.
    if (this.active && !element("classes").contains(document.activeElement)) this.fill();
  }

  fill() {
    const chosen = Number(element("drawn-id").value);
    element("classes").replaceChildren(...this.known().map((id) => this.row(id, id === chosen)));
  }

  row(id, chosen) {
    const item = document.createElement("li");
    const pick = document.createElement("input");
    Object.assign(pick, { type: "radio", name: "class", checked: chosen });
    pick.setAttribute("aria-label", text("drawClass", { id }));
    pick.onchange = () => this.choose(id, false);
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colorOf(id);
    const name = document.createElement("input");
    Object.assign(name, { type: "text", maxLength: 80, value: this.project.names[id] ?? "", placeholder: text("classOf", { id }) });
    name.setAttribute("aria-label", text("className", { id }));
    name.dataset.class = id;
    name.onchange = () => this.save({ names: { [id]: name.value } });
    item.append(pick, swatch, name);
    return item;
  }

  choose(id, focus = true) {
    if (!this.active) return;
    element("drawn-id").value = id;
    this.ids.add(id);
    this.fill();
    if (focus) element("classes").querySelector(`[data-class="${id}"]`).focus();
  }

  async save(changes) {
    try {
      this.show(await send("PATCH", "/api/project", changes));
      this.onChange();
    } catch (error) {
      this.report(error);
    }
  }
}
