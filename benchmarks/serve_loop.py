"""The loop of `unmask serve` on real data: images chosen by the program against random ones.

    python benchmarks/serve_loop.py                 5 repeats of 5 rounds of 3 images each
    python benchmarks/serve_loop.py --updates 400   with longer trainings
    python benchmarks/serve_loop.py --tiny          one repeat of two short rounds

Every round three images get their true labels, as a person would correct them; then the page's own
training runs, its model is measured on the validation images, and the other images are predicted,
from which the next three are chosen. The first training starts from weights that have seen no real
image (`--init phantoms`). Both ways of choosing have the same updates, images and start.
Data are read from UNMASK_DATA (default ../shared/data); finished rounds are kept in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unmask import api
from unmask.api.prediction import Options as PredictOptions
from unmask.io import open_labels
from unmask.serve.commands import Defaults, Effort
from unmask.serve.labels import Patch
from unmask.serve.processes import Job
from unmask.serve.site import Site, make_site, next_image
from unmask.serve.workspace import Entry, list_entries, open_workspace

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))
METRIC = "f1@0.5"


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes:
        images: that the person has.
        validation: images that models are measured on.
        rounds: of every loop.
        each: images that are corrected per round.
        effort: of every training.
        repeats: loops with other images.
        settings: changes of the planned recipe; crops that a slow CPU can afford.
    """

    images: int = 120
    validation: int = 60
    rounds: int = 5
    each: int = 3
    effort: Effort = field(default_factory=lambda: Effort(updates=100))
    repeats: int = 5
    settings: tuple[str, ...] = (
        "data.crop=[128, 128]", "data.scale=1.0", "train.batch_size=4", "train.precision=bf16",
    )  # fmt: skip


_SMALL = ("model.backbone={name: resunet, width: 4, depth: 3}", "data.crop=[64, 64]",
          "data.scale=1.0", "train.batch_size=2", "infer.tile=[256, 256]")  # fmt: skip
TINY = Scale(8, 2, 2, 2, Effort(updates=20), 1, _SMALL)


def finish(site: Site, job: Job) -> Job:
    """Wait until a job has ended, and take over what it has written."""
    while site.jobs.describe(job)["state"] == "running":
        time.sleep(0.5)
    again = job.folder / "mirrored" / "job.json"
    while again.is_file() and not (again.parent / "exit.json").is_file():
        time.sleep(0.5)
    site.jobs.settle()
    state = site.jobs.describe(job)
    if state["state"] != "done":
        raise RuntimeError(f"{job.id}: {state['error'] or state['log']}")
    return job


def correct(site: Site, entry: Entry, truth: Path) -> int:
    """Give an image its true labels; the number of its objects."""
    image = site.pictures.open(entry)
    path = next(truth.glob(f"{entry.name}.*"))
    labels = open_labels(path, ndim=image.ndim).read()[0]
    patch = Patch((0,) * labels.ndim, labels.astype(np.uint16), "*")
    return site.store.write(entry, image, patch)[1] or 0


def score(model: Path, images: Path, labels: Path, out: Path) -> float:
    """F1 of a model on images that nobody has corrected."""
    options = PredictOptions(overwrite=True)
    api.predict_files(model, images, out=out, options=options, say=_quiet)
    report = api.evaluate(truth=labels, predicted=out, metrics=[METRIC])
    return float(report.summary[METRIC]["mean"])


def _quiet(_: str) -> None:
    pass


def choose(site: Site, how: str, count: int, rng: np.random.Generator) -> list[Entry]:
    """The next images, by the program or at random."""
    entries = {entry.id: entry for entry in list_entries(site.workspace)}
    if how == "chosen":
        return [entries[identity] for identity in next_image(site, count, None)["images"]]
    left = sorted(key for key, entry in entries.items() if site.store.path(entry) is None)
    return [entries[left[n]] for n in rng.choice(len(left), count, replace=False)]


def run_loop(work: Path, scale: Scale, how: str, repeat: int) -> list[dict[str, Any]]:
    """One loop; a row per round."""
    rows_file = work / f"{how}-{repeat}.json"
    if rows_file.is_file():
        return json.loads(rows_file.read_text())
    data, folder = DATA / "dsb2018_nuclei", work / f"{how}-{repeat}"
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(repeat)
    for part, count in (("train", scale.images), ("val", scale.validation)):
        files = sorted((data / part / "images").iterdir())
        for number in rng.permutation(len(files))[:count]:
            for kind in ("images", "labels"):
                target = folder / part / kind
                target.mkdir(parents=True, exist_ok=True)
                stem = files[number].stem
                source = next((data / part / kind).glob(f"{stem}.*"))
                shutil.copy(source, target / source.name)
    (folder / "project").mkdir()
    (folder / "train" / "images").rename(folder / "project" / "images")
    defaults = Defaults(settings=scale.settings, init="phantoms")
    site = make_site(open_workspace(folder / "project"), defaults=defaults)
    rows, objects = [], 0
    for number in range(scale.rounds):
        for entry in choose(site, how, scale.each, rng):
            objects += correct(site, entry, folder / "train" / "labels")
        job = finish(site, site.jobs.train(scale.effort)[0])
        out = folder / f"out-{number}"
        value = score(job.out, folder / "val" / "images", folder / "val" / "labels", out)
        rows.append({"images": (number + 1) * scale.each, "objects": objects, METRIC: value})
        print(how, repeat, rows[-1], flush=True)
        if how == "chosen" and number + 1 < scale.rounds:
            rest = [e for e in list_entries(site.workspace) if site.store.path(e) is None]
            finish(site, site.jobs.predict(rest, ndim=2))
    rows_file.write_text(json.dumps(rows))
    return rows


def summarize(rows: dict[str, list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """Means per round, and whether choosing was at least as good."""
    table = []
    for number in range(len(rows["chosen"][0])):
        line: dict[str, Any] = {"images": rows["chosen"][0][number]["images"]}
        for how, loops in rows.items():
            line[how] = statistics.mean(loop[number][METRIC] for loop in loops)
            line[f"{how}_objects"] = statistics.mean(loop[number]["objects"] for loop in loops)
        table.append({**line, "as_good": line["chosen"] >= line["random"]})
    return table


def main() -> None:
    """Run what is not done yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/serve_loop"))
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "serve_loop.json")
    parser.add_argument("--updates", type=int, default=100, help="Updates of every training.")
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    scale = TINY if asked.tiny else Scale(effort=Effort(updates=asked.updates))
    rows: dict[str, list[list[dict[str, Any]]]] = {"chosen": [], "random": []}
    for repeat in range(scale.repeats):
        for how, loops in rows.items():
            loops.append(run_loop(asked.work, scale, how, repeat))
    result = {
        "page": "serve.md",
        "tiny": asked.tiny,
        "updates": scale.effort.updates,
        "metric": METRIC,
        "rounds": summarize(rows),
        "loops": rows,
    }
    asked.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["rounds"], indent=1))


if __name__ == "__main__":
    main()
