// The page: opens images, connects tools, panels and jobs.

import { Annotator } from "./annotate.js";
import { channelStates } from "./channels.js";
import { Classes } from "./classes.js";
import { Editor } from "./editor.js";
import { download, importLabels, uploadImages } from "./files.js";
import { Gestures } from "./gestures.js";
import { grayValues } from "./gray.js";
import { showHistogram } from "./histogram.js";
import { ImageList } from "./images.js";
import { Jobs } from "./jobs.js";
import { listen } from "./keyboard.js";
import { Notes } from "./notes.js";
import { announce, ask, background, element, fillTexts, markRight, ordered, showChannels, showImages, showObjects, status, switchTheme } from "./panels.js";
import { Pen } from "./pen.js";
import { getJson, Saver, send } from "./server.js";
import { text } from "./texts.js";
import { interpolate } from "./tools.js";
import { View } from "./view.js";

fillTexts();
const canvas = element("canvas");
let catalog = { images: [], counts: {}, models: [] };
let meta = null;
let listed = [];
let planned = false;

/** Draw once per frame, however much has changed. */
function draw() {
  if (planned) return;
  planned = true;
  requestAnimationFrame(() => {
    planned = false;
    view.draw((context) => {
      editor.draw(context);
      annotator.draw(context);
    });
    if (meta && view.tooCoarse) status(text("tooCoarse"));
  });
}

const view = new View(canvas, draw);
const saver = new Saver(reportSaving, ask, onSaved);
const notes = new Notes(saver, showNotes);
const editor = new Editor(view, saver, draw);
const annotator = new Annotator(view, editor, {
  draw, mayEdit, objectBox, grayValues: () => grayValues(view, editor),
  addRegion: (box) => notes.addBox(meta.id, box),
  picked: (id) => classes.choose(id),
});
const jobs = new Jobs(onPredicted, refresh);
const classes = new Classes(() => refresh().catch(report), report);
const pen = new Pen(view, annotator);
const imageList = new ImageList(element("image-list"), {
  open: guarded((id) => open(id)),
  explain: (problem) => status(problem, "bad"),
  found: refreshSoon,
});
new Gestures(canvas, view, annotator);
jobs.beforeTraining = () => saver.run();

function reportSaving(state, reason = "") {
  canvas.dataset.saving = state;
  if (state === "refused") status(text("refused", { reason }), "bad");
  else if (state === "unsaved") status(text("unsaved", { reason: reason || text("noServer") }), "bad");
  else background(text(state));
}

let counting = 0;
function onSaved(image, kind, reload) {
  if (kind === "notes") showNotes(image);
  if (kind === "notes" || image !== meta?.id) refreshSoon();
  else if (reload) guarded(open)(image);
  else {
    meta.labeled = true;
    // The table follows when the pen rests.
    clearTimeout(counting);
    counting = setTimeout(() => Promise.all([refresh(), loadObjects()]).catch(report), 400);
  }
}

function report(error) {
  status(error.message, "bad");
}

/** Run an action of a button; what goes wrong is shown. */
function guarded(action) {
  return (...given) => Promise.resolve().then(() => action(...given)).catch(report);
}

/** Run an action that needs an image. */
function withImage(action) {
  return guarded((...given) => (meta ? action(...given) : status(text("noImage"))));
}

let refreshing = 0;
function refreshSoon() {
  clearTimeout(refreshing);
  refreshing = setTimeout(guarded(refresh), 400);
}

async function refresh() {
  catalog = await getJson("/api/images");
  showCatalog();
}

function showCatalog() {
  showImages(catalog, meta?.id, imageList);
  const chosen = element("model").value;
  element("model").replaceChildren(
    new Option(text("lastModel"), ""),
    ...catalog.models.map((model) => new Option(model.name, model.id)),
  );
  element("model").value = catalog.models.some((model) => model.id === chosen) ? chosen : "";
  classes.show(catalog.project);
  for (const id of ["train", "effort", "resume"]) element(id).classList.toggle("hidden", Boolean(catalog.demo));
}

async function open(id, known = null) {
  annotator.cancel();
  await saver.run();
  canvas.dataset.image = "";
  status(text("loading"));
  meta = await notes.read(id, known);
  meta.channels = channelStates(meta);
  const middle = meta.shape.length > 2 ? Math.floor(meta.shape[0] / 2) : 0;
  setUpSlices({ axis: 0, index: middle });
  view.open(meta, { axis: 0, index: middle }, meta.channels);
  showChannels(meta.channels, changeChannel);
  await showLayer(meta.predicted && !meta.objects && !isLabeled() ? "prediction" : "labels", true);
  showNotes(id);
  await loadObjects();
  showImages(catalog, meta.id, imageList);
  canvas.dataset.image = meta.name;
}

/** Show the boxes and marks of the open image. */
function showNotes(id) {
  if (id !== meta?.id) return;
  Object.assign(meta, notes.now(id));
  element("held-out").checked = meta.held_out;
  element("clear-regions").classList.toggle("hidden", !meta.regions.length);
  markRight(meta.right);
  draw();
}

function isLabeled() {
  return meta.labeled && meta.objects !== 0;
}

let contrast = 0;
function changeChannel(channel, change) {
  Object.assign(channel, change);
  clearTimeout(contrast);
  contrast = setTimeout(() => view.forget(), 60);
}

function setUpSlices({ axis, index }) {
  const volume = meta.shape.length > 2;
  for (const id of ["slices", "interpolate"]) element(id).classList.toggle("hidden", !volume);
  element("axis").replaceChildren(...[...meta.axes].map((name, number) => new Option(name, number)));
  element("axis").value = axis;
  Object.assign(element("slice"), { max: meta.shape[axis] - 1, value: index });
  element("slice-number").textContent = `${index + 1} / ${meta.shape[axis]}`;
}

async function goTo(plane) {
  if (meta.shape.length < 3) return;
  const turned = plane.axis !== view.plane.axis;
  const index = Math.max(0, Math.min(plane.index, meta.shape[plane.axis] - 1));
  annotator.cancel();
  view.setPlane({ axis: plane.axis, index });
  setUpSlices({ axis: plane.axis, index });
  if (turned) view.fit();
  await editor.load();
}

async function showLayer(layer, fresh = false) {
  if (fresh) await editor.open(meta, layer);
  else {
    await saver.run();
    editor.layer = layer;
    await editor.load();
  }
  element("layers").classList.toggle("hidden", !meta.predicted);
  markLayer(layer);
}

function markLayer(layer) {
  for (const button of element("layers").querySelectorAll("[data-layer]")) {
    button.setAttribute("aria-pressed", button.dataset.layer === layer);
  }
  for (const id of ["accept", "reject"]) element(id).classList.toggle("hidden", layer !== "prediction");
}

/** The first change of a prediction makes it the labels; labels are replaced only on request. */
function mayEdit() {
  if (editor.layer === "labels") return true;
  if (isLabeled() || meta.parts.length) {
    guarded(adopt)();
    return false;
  }
  saver.accept(meta.id);
  editor.layer = "labels";
  meta.labeled = true;
  markLayer("labels");
  return true;
}

async function adopt() {
  const question = meta.parts.length ? "add" : "replace";
  if (isLabeled() && !(await ask(question))) return;
  saver.accept(meta.id);
  await saver.run();
  meta = { ...(await notes.read(meta.id)), channels: meta.channels };
  await showLayer("labels", true);
  status(text("adopted"));
}

async function reject() {
  await send("POST", `/api/proposal/${meta.id}/reject`, {});
  meta.predicted = false;
  await showLayer("labels");
  await refresh();
  status(text("rejected"));
}

async function onPredicted() {
  await refresh();
  if (!meta) return;
  const now = await getJson(`/api/image/${meta.id}`);
  Object.assign(meta, { predicted: now.predicted, objects: now.objects, labeled: now.labeled, parts: now.parts });
  await showLayer(meta.predicted && (!isLabeled() || meta.parts.length) ? "prediction" : editor.layer);
  await loadObjects();
}

async function loadObjects() {
  const { id } = meta;
  const mark = (object, isRight) => notes.mark(id, object, isRight);
  if (meta.large) {
    showObjects([], [], select, mark);
    showHistogram([]);
    element("corrections").textContent = "";
    return;
  }
  const { changes } = notes;
  const found = await getJson(`/api/objects/${id}?layer=${editor.layer}`);
  notes.take(id, found, changes);
  if (id !== meta.id) return;
  meta.objects = editor.layer === "labels" ? found.objects.length : meta.objects;
  showNotes(id);
  showObjects(ordered(found.objects, meta.right), meta.right, select, mark);
  listed = found.objects;
  showHistogram(listed);
  const counts = { count: found.corrections, objects: found.objects.length };
  element("corrections").textContent = found.corrections === null ? "" : text("corrections", counts);
  classes.show(classes.project, classes.active ? found.objects.map((object) => object.id) : []);
  if (!saver.pending) background(text("ready", { name: meta.name, objects: found.objects.length }));
}

async function select(object) {
  const middle = object.start.map((start, axis) => Math.floor((start + object.stop[axis] - 1) / 2));
  const { axis } = view.plane;
  if (meta.shape.length > 2) await goTo({ axis, index: middle[axis] });
  const [rows, columns] = middle.length > 2 ? middle.filter((_, each) => each !== axis) : middle;
  view.show(rows, columns);
  annotator.select(object.id);
  showHistogram(listed, object.id);
}

/** Fill the slices of the selected object that lie between drawn ones. */
async function fillBetween() {
  const id = annotator.selected;
  const box = id ? await objectBox(id) : null;
  if (!box) {
    status(text("selectFirst"));
    return;
  }
  const shape = box.stop.map((stop, axis) => stop - box.start[axis]);
  let filled = 0;
  await editor.changeBox(box, (ids) => {
    filled = interpolate(ids, shape, view.plane.axis, id);
  });
  announce(text(filled ? "interpolated" : "nothingBetween", { id }));
}

/** The box of an object that reaches over several slices; null in 2D. */
async function objectBox(id) {
  if (meta.shape.length < 3 || meta.large) return null;
  await saver.run();
  const { objects } = await getJson(`/api/objects/${meta.id}`);
  const object = objects.find((each) => each.id === id);
  return object ? { start: object.start, stop: object.stop } : null;
}

/** Undo or redo in the order of the gestures: whatever waited for both would wait for itself. */
function stepBack(take, nothing) {
  return annotator.gesture("perform", () => exchange(take, nothing));
}

async function exchange(take, nothing) {
  const step = take();
  if (!step) {
    status(text(nothing));
    return;
  }
  const done = await editor.step(step);
  if (done?.elsewhere) {
    await goTo(step.plane);
    await editor.step(step);
  }
  draw();
}

const page = {
  tool(name) {
    annotator.choose(name);
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === name);
    }
    element("tolerance-label").classList.toggle("hidden", name !== "similar");
  },
  undo: guarded(() => stepBack(() => editor.history.undo(), "nothingToUndo")),
  redo: guarded(() => stepBack(() => editor.history.redo(), "nothingToRedo")),
  save: guarded(async () => {
    canvas.dataset.saving = "saving";
    await saver.finish(() => annotator.idle, () => editor.busy);
  }),
  brush(change) {
    element("brush-size").value = annotator.radius + change;
    draw();
  },
  zoom(factor) {
    view.zoomBy(factor);
    editor.follow();
  },
  fit() {
    view.fit();
    editor.follow();
  },
  slice: guarded((change) => goTo({ axis: view.plane.axis, index: view.plane.index + change })),
  next: guarded(async () => {
    await saver.run();
    status(text("choosing"));
    const query = meta ? `?after=${meta.id}` : "";
    const { images, by } = await getJson(`/api/select${query}`);
    if (!images.length) {
      status(text("noNext"));
      return;
    }
    await open(images[0]);
    status(`${text(`next${by}`)} ${text("ready", { name: meta.name, objects: meta.objects ?? 0 })}`);
  }),
  part: withImage(() => saver.run().then(() => jobs.predict([meta.id], editor.visibleBox()))),
  between: guarded(() => annotator.gesture("perform", fillBetween)),
  cancel: () => annotator.cancel(),
  close: () => annotator.gesture("close"),
  movePen: (dx, dy) => pen.move(dx, dy),
  pressPen: guarded(() => pen.press()),
};

for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => page.tool(button.dataset.tool);
for (const button of element("layers").querySelectorAll("[data-layer]")) {
  button.onclick = guarded(async () => {
    await showLayer(button.dataset.layer);
    await loadObjects();
  });
}
const actions = {
  undo: page.undo,
  redo: page.redo,
  save: page.save,
  "next-image": page.next,
  fit: page.fit,
  accept: guarded(adopt),
  reject: guarded(reject),
  predict: withImage(() => saver.run().then(() => jobs.predict([meta.id]))),
  "predict-part": page.part,
  interpolate: page.between,
  "take-model": guarded(async () => {
    const id = element("model").value || catalog.models[0]?.id;
    if (id?.startsWith("round-")) download(`/api/model/${id}`);
    else status(text("noModel"));
  }),
  cluster: withImage(() => saver.run().then(() => jobs.cluster(Number(element("cluster-count").value)))),
  "predict-all": withImage(() => saver.run().then(() => jobs.predict("all"))),
  "clear-regions": withImage(() => notes.removeBoxes(meta.id)),
  export: withImage(async () => {
    await saver.run();
    download(`/api/export/${meta.id}?format=${element("format").value}`);
  }),
  auto: withImage(() => {
    for (const channel of meta.channels) [channel.low, channel.high] = channel.auto;
    showChannels(meta.channels, changeChannel);
    view.forget();
  }),
  theme() {
    switchTheme();
    draw();
  },
};
for (const [id, action] of Object.entries(actions)) element(id).onclick = action;
element("search").oninput = () => showImages(catalog, meta?.id, imageList);
element("slice").oninput = guarded(() => goTo({ axis: view.plane.axis, index: Number(element("slice").value) }));
element("axis").onchange = guarded(() => {
  const axis = Number(element("axis").value);
  return goTo({ axis, index: Math.floor(meta.shape[axis] / 2) });
});
element("outline").onchange = () => {
  editor.outline = element("outline").checked;
  editor.repaint();
};
element("held-out").onchange = withImage(() => notes.holdOut(meta.id, element("held-out").checked));
element("upload").onchange = guarded(() => uploadImages(async (name) => {
  await refresh();
  const added = catalog.images.find((image) => image.name === name);
  if (added && !meta) await open(added.id);
}));
element("import").onchange = withImage(() => importLabels(meta.id, onPredicted));
element("sort").onchange = withImage(loadObjects);
canvas.addEventListener("wheel", () => editor.follow());
canvas.addEventListener("pointerup", () => editor.follow());
window.addEventListener("beforeunload", (event) => {
  if (saver.pending) event.preventDefault();
});
listen(canvas, page);
page.tool("brush");

/** The picture first: everything else may come a moment later. */
async function begin() {
  const listing = getJson("/api/images");
  const first = await getJson("/api/first");
  if (first.id) await open(first.id, first).catch(report);
  catalog = await listing;
  showCatalog();
  await jobs.find();
  if (catalog.demo) status(text("demoNote"));
  else if (!catalog.images.length) status(text("noImages", { folder: catalog.folder }));
  else if (!meta) status(text("noneUsable"), "bad");
}
guarded(begin)();
