// Texts, channels, objects, and the question dialog. File names only ever become text.

import { colorOf } from "./editor.js";
import { TEXTS, text } from "./texts.js";

export const element = (id) => document.getElementById(id);

export function fillTexts() {
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", text(each.dataset.label));
    if (each.type === "search") each.placeholder = text(each.dataset.label);
  }
  for (const each of document.querySelectorAll("[data-title]")) {
    each.title = text(each.dataset.title);
    each.setAttribute("aria-label", text(each.dataset.title));
  }
  for (const each of document.querySelectorAll("[data-hint]")) each.title = text(each.dataset.hint);
  element("drawn-id").placeholder = text("newObject");
  for (const [order, name] of Object.entries(TEXTS.sorts)) element("sort").append(new Option(name, order));
  for (const [format, name] of Object.entries(TEXTS.formats)) element("format").append(new Option(name, format));
}

// Milliseconds for which the result of an action is not replaced by what goes on in the background.
const LINGER = 4000;
let lingers = 0;

export function status(message, kind = "") {
  const line = element("status");
  line.textContent = message;
  line.dataset.kind = kind;
  lingers = 0;
}

/** Show the result of an action, which saving and counting leave to be read. */
export function announce(message) {
  status(message);
  lingers = Date.now() + LINGER;
}

/** Show what goes on in the background, unless the result of an action was just shown. */
export function background(message) {
  if (Date.now() >= lingers) status(message);
}

let asked = Promise.resolve();

/** Ask a question when those before are answered; true for yes. */
export function ask(name) {
  asked = asked.then(() => question(name));
  return asked;
}

function question(name) {
  const dialog = element("question");
  element("question-title").textContent = text(`${name}Title`);
  element("question-text").textContent = text(`${name}Text`);
  element("question-yes").textContent = text(`${name}Yes`);
  element("question-no").textContent = text(`${name}No`);
  return new Promise((resolve) => {
    element("question-yes").onclick = () => dialog.close("yes");
    element("question-no").onclick = () => dialog.close("no");
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.returnValue = "no";
    dialog.showModal();
  });
}

export function showImages({ images, counts }, current, list) {
  const wanted = element("search").value.toLowerCase();
  element("counts").textContent = Object.entries(counts)
    .map(([state, count]) => `${count} ${TEXTS.states[state]}`)
    .join(", ");
  const found = images.filter((image) => image.file.toLowerCase().includes(wanted));
  element("matches").textContent = text("matches", { count: found.length, all: images.length });
  element("matches").classList.toggle("hidden", !wanted);
  list.show(found, current);
}

export function showChannels(channels, change) {
  element("channels").replaceChildren(...channels.map((channel) => channelItem(channel, change)));
}

function channelItem(channel, change) {
  const item = document.createElement("div");
  item.className = "channel";
  const visible = document.createElement("input");
  visible.type = "checkbox";
  visible.checked = channel.visible;
  visible.onchange = () => change(channel, { visible: visible.checked });
  const name = document.createElement("label");
  name.textContent = channel.name;
  name.prepend(visible);
  item.append(name, range(channel, "low", change), range(channel, "high", change));
  return item;
}

function range(channel, end, change) {
  const input = document.createElement("input");
  input.type = "range";
  const room = channel.widest - channel.narrowest || 1;
  Object.assign(input, { min: channel.narrowest, max: channel.widest, step: room / 500, value: channel[end] });
  input.title = `${channel.name}: ${text(end)}`;
  input.setAttribute("aria-label", input.title);
  input.oninput = () => change(channel, { [end]: Number(input.value) });
  return input;
}

/** The measure that is looked at: that which the table is sorted by. */
export function measured() {
  const by = element("sort").value;
  return by === "id" ? "size" : by;
}

/** The table of objects; a row selects its object. */
export function showObjects(objects, right, select, setRight) {
  const third = measured() === "brightness" ? "brightness" : "doubt";
  element("measure").textContent = TEXTS.sorts[third];
  element("objects").replaceChildren(
    ...objects.map((object) => {
      const row = document.createElement("tr");
      const id = row.insertCell();
      id.textContent = object.id;
      id.style.borderLeft = `6px solid ${colorOf(object.id)}`;
      row.insertCell().textContent = object.size;
      row.insertCell().textContent = object[third] === null ? "" : Number(object[third].toPrecision(3));
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = right.includes(object.id);
      box.setAttribute("aria-label", text("rightOf", { id: object.id }));
      box.onclick = (event) => event.stopPropagation();
      box.onchange = () => setRight(object.id, box.checked);
      row.insertCell().append(box);
      row.tabIndex = 0;
      row.dataset.id = object.id;
      row.onclick = () => select(object);
      row.onkeydown = (event) => event.key === "Enter" && select(object);
      return row;
    }),
  );
}

export function markObject(id) {
  for (const row of element("objects").children) row.setAttribute("aria-selected", Number(row.dataset.id) === id);
}

/** Check the boxes of the objects that are right; the rows stay where they are. */
export function markRight(right) {
  for (const row of element("objects").children) row.querySelector("input").checked = right.includes(Number(row.dataset.id));
}

/** Objects in the order that was chosen, the highest first; of what is doubtful, that which is right last. */
export function ordered(objects, right) {
  const by = element("sort").value;
  if (by === "id") return objects;
  const value = (object) => (by === "doubt" && right.includes(object.id) ? -1 : object[by] ?? 0);
  return objects.toSorted((a, b) => value(b) - value(a));
}

export function switchTheme() {
  const { dataset } = document.documentElement;
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (!dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  dataset.theme = dark ? "light" : "dark";
}
