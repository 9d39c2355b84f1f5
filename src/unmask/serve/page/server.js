// Requests to the server, and the queue of changes that are not saved yet.

export class Refused extends Error {
  constructor(status, body) {
    super(body.error || `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

async function answer(response) {
  if (response.ok) return response;
  let body = {};
  try {
    body = await response.json();
  } catch {
    // A proxy's own page says nothing that the status does not say.
  }
  throw new Refused(response.status, body);
}

export async function getJson(path) {
  return (await answer(await fetch(path))).json();
}

export async function send(method, path, content, headers = {}) {
  const json = content !== undefined && !(content instanceof ArrayBuffer) && !(content instanceof Blob);
  const response = await fetch(path, {
    method,
    headers: json ? { "content-type": "application/json", ...headers } : headers,
    body: json ? JSON.stringify(content) : content,
  });
  return (await answer(response)).json();
}

/** Ids of a box as a Uint32Array, with their version. */
export async function readLabels(image, box, layer = "labels") {
  const query = new URLSearchParams({ start: box.start.join(), stop: box.stop.join(), layer });
  const response = await answer(await fetch(`/api/labels/${image}?${query}`));
  const content = await response.arrayBuffer();
  const wide = response.headers.get("x-dtype") === "uint32";
  const ids = wide ? new Uint32Array(content) : Uint32Array.from(new Uint16Array(content));
  return { ids, version: (response.headers.get("etag") || "").replaceAll('"', "") };
}

function packed(ids) {
  let top = 0;
  for (const id of ids) if (id > top) top = id;
  const narrow = top < 65536;
  return { dtype: narrow ? "uint16" : "uint32", content: (narrow ? Uint16Array : Uint32Array).from(ids).buffer };
}

const RETRY = 2000;

/** Saves changes one after the other; what cannot be saved stays and is tried again. */
export class Saver {
  constructor(report, onConflict, onSaved) {
    this.waiting = [];
    this.versions = new Map();
    this.busy = null;
    // Requests to save that wait for changes which are still being made.
    this.requests = 0;
    this.report = report;
    this.onConflict = onConflict;
    this.onSaved = onSaved;
  }

  get pending() {
    return this.waiting.length;
  }

  patch(image, start, shape, ids) {
    this.push({ image, start, shape, ids });
  }

  accept(image) {
    this.push({ image, accept: true });
  }

  push(change) {
    this.waiting.push(change);
    this.run();
  }

  /** Resolves when everything that was waiting is saved. */
  run() {
    this.busy ??= this.work().finally(() => {
      this.busy = null;
      // What came between the last look and here must not wait for the next change.
      return this.waiting.length ? this.run() : undefined;
    });
    return this.busy;
  }

  /** Save when these changes have been made, one after the other; "saved" is not reported before. */
  async finish(...changes) {
    this.requests += 1;
    try {
      for (const change of changes) await change();
      await this.run();
    } finally {
      this.requests -= 1;
    }
    if (!this.pending) this.report("saved");
  }

  async work() {
    while (this.waiting.length) {
      const change = this.waiting[0];
      this.report("saving");
      try {
        const saved = await this.deliver(change);
        this.waiting.shift();
        this.versions.set(change.image, saved.version);
        this.onSaved(change.image, saved);
      } catch (error) {
        if (error instanceof Refused && error.status === 409) {
          if (!(await this.resolve(change, error))) return;
        } else if (error instanceof Refused && error.status < 500) {
          // The server will never take it: say so, and do not block what comes after.
          this.waiting.shift();
          this.report("refused", error.message);
        } else {
          this.report("unsaved", error instanceof Refused ? error.message : "");
          await new Promise((resolve) => setTimeout(resolve, RETRY));
        }
      }
    }
    if (!this.requests) this.report("saved");
  }

  async resolve(change, error) {
    const keep = await this.onConflict(change.image);
    if (keep) {
      this.versions.set(change.image, error.body.version);
      return true;
    }
    this.waiting = this.waiting.filter((each) => each.image !== change.image);
    this.versions.delete(change.image);
    this.onSaved(change.image, { reload: true });
    return this.waiting.length > 0;
  }

  deliver(change) {
    const version = { "if-match": `"${this.versions.get(change.image) ?? "0"}"` };
    if (change.accept) return send("POST", `/api/proposal/${change.image}/accept`, {}, version);
    const { dtype, content } = packed(change.ids);
    return send("PUT", `/api/labels/${change.image}`, content, {
      ...version,
      "x-shape": change.shape.join(),
      "x-offset": change.start.join(),
      "x-dtype": dtype,
    });
  }
}
