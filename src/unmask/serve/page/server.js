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

/**
 * Saves changes one after the other; what cannot be saved stays and is tried again.
 *
 * A change has: image; kind, "labels" or "notes"; deliver(version), which sends it and returns an
 * object with the new version; and maybe onConflict(body), which gets the answer if somebody else
 * has saved meanwhile.
 */
export class Saver {
  /**
   * report(state, reason) is called with the state of saving; ask(kind) answers whether a change is
   * kept although somebody else was quicker; onSaved(image, kind, reload) follows every change.
   */
  constructor(report, ask, onSaved) {
    this.waiting = [];
    this.versions = new Map();
    this.busy = null;
    // Requests to save that wait for changes which are still being made.
    this.requests = 0;
    this.report = report;
    this.ask = ask;
    this.onSaved = onSaved;
  }

  get pending() {
    return this.waiting.length;
  }

  patch(image, start, shape, ids) {
    this.pushLabels(image, (version) => {
      const { dtype, content } = packed(ids);
      const box = { "x-shape": shape.join(), "x-offset": start.join(), "x-dtype": dtype };
      return send("PUT", `/api/labels/${image}`, content, { ...version, ...box });
    });
  }

  accept(image) {
    this.pushLabels(image, (version) => send("POST", `/api/proposal/${image}/accept`, {}, version));
  }

  pushLabels(image, request) {
    this.push({ image, kind: "labels", deliver: (version) => request({ "if-match": `"${version}"` }) });
  }

  /** Remember what the changes of an image are made on. */
  setVersion(image, version, kind = "labels") {
    this.versions.set(`${kind} of ${image}`, version);
  }

  /** Changes of an image that are not saved yet. */
  of(image, kind) {
    return this.waiting.filter((each) => each.image === image && each.kind === kind);
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
        const saved = await change.deliver(this.versions.get(`${change.kind} of ${change.image}`) ?? "0");
        this.waiting.shift();
        this.setVersion(change.image, saved.version, change.kind);
        this.onSaved(change.image, change.kind, false);
      } catch (error) {
        if (error instanceof Refused && error.status === 409) {
          await this.resolve(change, error.body);
        } else if (error instanceof Refused && error.status < 500) {
          // The server will never take it: say so, and do not block what comes after.
          this.waiting.shift();
          if (change.kind === "notes") this.onSaved(change.image, change.kind, false);
          this.report("refused", error.message);
        } else {
          this.report("unsaved", error instanceof Refused ? error.message : "");
          await new Promise((resolve) => setTimeout(resolve, RETRY));
        }
      }
    }
    if (!this.requests) this.report("saved");
  }

  async resolve({ image, kind, onConflict }, found) {
    const keep = await this.ask(kind);
    // Without a version, what is drawn until the newer labels are loaded is asked about again.
    this.setVersion(image, keep ? found.version : undefined, kind);
    if (!keep) this.waiting = this.waiting.filter((each) => each.image !== image || each.kind !== kind);
    onConflict?.(found);
    if (!keep) this.onSaved(image, kind, true);
  }
}
