// Training and predicting: start, stop, continue, and what is shown of the progress.

import { element, status } from "./panels.js";
import { showRounds } from "./rounds.js";
import { getJson, send } from "./server.js";
import { text } from "./texts.js";

export class Jobs {
  constructor(onPredicted, onTrained) {
    this.onPredicted = onPredicted;
    this.onTrained = onTrained;
    this.training = null;
    this.predicting = null;
    this.losses = [];
    this.streams = new Map();
    element("train").onclick = () => this.try(() => this.train());
    element("stop").onclick = () => this.try(() => this.stop());
    element("resume").onclick = () => this.try(() => this.resume());
  }

  async try(action) {
    try {
      await action();
    } catch (error) {
      status(error.message, "bad");
    }
  }

  /** Jobs of earlier pages and servers, which may still run. */
  async find() {
    const { jobs } = await getJson("/api/jobs");
    for (const kind of ["train", "predict"]) {
      const newest = jobs.find((job) => job.kind === kind);
      if (newest && (kind === "train" || newest.state === "running")) this.follow(newest);
    }
  }

  async train() {
    await this.beforeTraining();
    const job = await send("POST", "/api/train", { minutes: Number(element("minutes").value) || null });
    if (job.notes?.length) status(job.notes.join(" "));
    this.follow(job);
  }

  async stop() {
    const running = [this.training, this.predicting].find((job) => job?.state === "running");
    if (running) await send("POST", `/api/jobs/${running.id}/stop`, {});
  }

  async resume() {
    this.follow(await send("POST", `/api/jobs/${this.training.id}/resume`, {}));
  }

  async predict(images, region = null) {
    const model = element("model").value || null;
    this.follow(await send("POST", "/api/predict", { images, model, region }));
  }

  /** Group the pixels of all images; what is found is predicted classes without names. */
  async cluster(classes) {
    const model = element("model").value || null;
    this.follow(await send("POST", "/api/cluster", { classes, model }));
  }

  follow(job) {
    this.streams.get(job.kind)?.close();
    this.show(job);
    if (job.kind === "train") this.losses = [];
    const stream = new EventSource(`/api/jobs/${job.id}/events`);
    this.streams.set(job.kind, stream);
    let seen = job.state;
    stream.addEventListener("journal", (event) => this.add(JSON.parse(event.data)));
    stream.addEventListener("state", (event) => {
      const now = JSON.parse(event.data);
      this.show(now);
      if (now.state === "running") {
        seen = now.state;
        return;
      }
      // The stream has ended; the browser would open it again.
      stream.close();
      if (seen !== "running") return;
      if (now.kind === "train") this.onTrained(now);
      else this.onPredicted(now);
    });
  }

  show(job) {
    this[job.kind === "train" ? "training" : "predicting"] = job;
    const running = job.state === "running";
    const name = job.kind === "train" ? "training" : "predicting";
    const planning = running && job.kind === "train" && !job.steps;
    element("progress").textContent = text(planning ? "planning" : running ? name : name + job.state, job);
    element("progress").dataset.state = job.state;
    if (planning) element("progress-bar").removeAttribute("value");
    else element("progress-bar").value = job.steps ? job.done / job.steps : 0;
    element("progress-bar").classList.toggle("hidden", !running);
    const busy = [this.training, this.predicting].some((each) => each?.state === "running");
    element("stop").disabled = !busy;
    element("resume").disabled = this.training?.state !== "stopped";
    element("train").disabled = this.training?.state === "running";
    const predicting = this.predicting?.state === "running";
    for (const id of ["predict", "predict-part", "predict-all", "cluster"]) element(id).disabled = predicting;
    if (job.kind === "train" && job.state !== "running") this.showScores();
    if (job.state === "failed") status(text(`${name}failed`, job), "bad");
    if (job.kind === "train" && job.picture) {
      element("held-out-picture").src = `/api/jobs/${job.id}/pictures/0?${job.done}`;
      element("held-out-picture").classList.remove("hidden");
    }
  }

  /** Scores on held-out images after every round: they tell when more labels stop to help. */
  async showScores() {
    const { jobs } = await getJson("/api/jobs");
    showRounds(jobs);
    const lines = jobs.filter((job) => job.kind === "train" && Object.keys(job.scores).length);
    element("scores").replaceChildren(
      ...lines.map((job) => {
        const item = document.createElement("li");
        const scores = Object.entries(job.scores).map(([name, value]) => `${name} ${value.toFixed(3)}`);
        item.textContent = text("score", { ...job, scores: scores.join(", ") });
        return item;
      }),
    );
  }

  add(line) {
    if (!Number.isFinite(line.loss)) return;
    element("curve").classList.remove("hidden");
    this.losses.push([line.step, line.loss]);
    const steps = this.losses.map(([step]) => step);
    const losses = this.losses.map(([, loss]) => loss);
    const first = Math.min(...steps);
    const across = Math.max(...steps) - first || 1;
    const least = Math.min(...losses);
    const up = Math.max(...losses) - least || 1;
    const points = this.losses.map(([step, loss]) => {
      const x = 4 + (232 * (step - first)) / across;
      return `${x.toFixed(1)},${(76 - (72 * (loss - least)) / up).toFixed(1)}`;
    });
    element("curve").firstElementChild.setAttribute("points", points.join(" "));
  }
}
