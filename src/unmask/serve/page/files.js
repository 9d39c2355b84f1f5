// Files that come and go: images, labels of other programs, results.

import { announce, element } from "./panels.js";
import { send } from "./server.js";
import { text } from "./texts.js";

export function download(address) {
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

/** Add all chosen images; calls added(name) after each. */
export async function uploadImages(added) {
  for (const file of element("upload").files) {
    const { name } = await send("POST", `/api/upload?${new URLSearchParams({ name: file.name })}`, file);
    announce(text("uploaded", { name }));
    await added(name);
  }
  element("upload").value = "";
}

/** Labels or outlines of another program become a prediction; calls shown() before it says so. */
export async function importLabels(image, shown) {
  const [file] = element("import").files;
  if (!file) return;
  const query = new URLSearchParams({ name: file.name });
  const { objects, notes } = await send("POST", `/api/import/${image}?${query}`, file);
  element("import").value = "";
  await shown();
  announce([text("imported", { objects }), ...notes].join(" "));
}
