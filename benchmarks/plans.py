"""Plans on the real data sets: against the presets, and whether their scores can be believed.

    python benchmarks/plans.py presets --seconds 300   equal CPU seconds, plan and preset
    python benchmarks/plans.py presets --sets isbi2012_em --seeds 1 2
    python benchmarks/plans.py others --seconds 200    plan and plain U-Net
    python benchmarks/plans.py held_out --draws 5 --steps 300   out-of-fold against true scores

``presets`` trains the plan and the nearest preset of each set for the same CPU seconds, without
validation, and scores both on the images of val. ``others`` does so on sets without a preset of
their own, against a plain U-Net: the nearest preset from random weights. ``held_out`` draws a few
labeled images, trains with folds, and compares the scores that the run reports with those of its
model on images of val. The draws are stratified by the look of the images, as those of
`unmask curve`. Results of earlier calls in docs/results/plans_*.json are kept unless their rows
are made again.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import unmask
from harness import COLUMNS, RESULTS, machine
from unmask.api.held_out import HELD_OUT
from unmask.apps.curve_draws import find_kinds, order_images
from unmask.build import layout
from unmask.crossvalidation.record import load_scores
from unmask.data.pairs import Pair, open_pairs
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair, summarize
from unmask.planning.network_rules import schedule_decisions
from unmask.planning.plan import Plan
from unmask.recipe import Recipe, load
from unmask.training.timing import time_updates

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Study:
    """A data set, its nearest preset, and the metric that decides."""

    preset: str
    metric: str
    settings: tuple[str, ...] = ()


STUDIES = {
    "dsb2018_nuclei": Study("cells", "f1@0.5"),
    "isbi2012_em": Study("membranes2d", "f1@0.5"),
    "fib25_em3d": Study("neurites3d", "f1@0.5"),
    "hippocampus_mri": Study("semantic3d", "dice", ("task.classes=3",)),
    "vnc_sstem": Study("membranes2d", "f1@0.5"),
    "axon_sem": Study("cells", "f1@0.5", ("data.channels=1",)),
    "plant_nuclei_3d_mini": Study("cells3d", "f1@0.5"),
    "oxford_pets_mini": Study("semantic2d", "dice", ("task.classes=3", "data.channels=3")),
}

# Of the start weights, those that have seen no image of these sets.
START = "phantoms"
_RANDOM = ", random weights"
OTHERS = {
    "usiigaci_phase": Study("cells", "f1@0.5"),
    "germline_nuclei": Study("cells", "f1@0.5"),
    "worms_bbbc010": Study("cells", "f1@0.5"),
    "cardiac_cine_mri": Study("semantic2d", "dice", ("task.classes=2",)),
    "superalloy_sem": Study("semantic2d", "dice", ("task.classes=3",)),
}


def compare(name: str, seconds: float, images: int, seed: int) -> Iterator[dict[str, Any]]:
    """Train the plan and the preset of a set for equal CPU seconds; returns one row each."""
    study, train = STUDIES.get(name) or OTHERS[name], DATA / name / "train"
    ours, init, plain = ("auto", "auto", "") if name in STUDIES else (START, None, _RANDOM)
    given: dict[str, Any] = {"images": train / "images", "labels": train / "labels"}
    # The size of the batch follows from the time of an update.
    made = unmask.plan(**given, init=ours, minutes=seconds / 60, settings=["train.folds=0"])
    preset = load(study.preset).with_settings(study.settings)
    arms = (("plan", made, ours), (study.preset + plain, preset, init))
    for title, start, weights in arms:
        recipe = limited(start, **given, seconds=seconds).with_settings([f"train.seed={seed}"])
        with tempfile.TemporaryDirectory() as folder:
            begin = time.process_time()
            run = unmask.train(recipe, **given, out=Path(folder) / "run", init=weights)
            used = time.process_time() - begin
            score, count = true_score(run.folder, name, study.metric, images)
        yield {
            "set": name,
            "recipe": title,
            "seed": seed,
            "cpu_seconds_asked": seconds,
            "cpu_seconds": round(used, 1),
            "updates": recipe.train.steps,
            "metric": study.metric,
            "score": round(score, 4),
            "images": count,
        }


def limited(start: Plan | Recipe, images: Path, labels: Path, seconds: float) -> Recipe:
    """The recipe with as many updates as fit into the CPU seconds, and no validation."""
    recipe = start.recipe if isinstance(start, Plan) else start
    cost = seconds_per_update(recipe, images, labels)
    steps = max(10, int(seconds / cost))
    plain = [f"{each.setting}" for each in schedule_decisions(steps, "")]
    return recipe.with_settings(
        [*plain, "data.holdout=0", "train.validate_every=0", f"train.save_every={steps}"]
    )


def seconds_per_update(recipe: Recipe, images: Path, labels: Path) -> float:
    """CPU seconds of one update, without those of reading the files for the first time."""
    pairs = _pairs(images, labels, recipe)
    time_updates(pairs, recipe, updates=2)
    spent = []
    for updates in (2, 8):
        begin = time.process_time()
        time_updates(pairs, recipe, updates=updates)
        spent.append(time.process_time() - begin)
    return (spent[1] - spent[0]) / 6


def _pairs(images: Path, labels: Path, recipe: Recipe) -> list[Pair]:
    return open_pairs(images, labels, layout(recipe), channels=recipe.data.channels)


def true_score(model: Path, name: str, metric: str, images: int) -> tuple[float, int]:
    """Mean metric of a model on val images, evenly chosen; sets without val use train."""
    folder = DATA / name / "val"
    folder = folder if folder.is_dir() else DATA / name / "train"
    paths = sorted((folder / "images").iterdir())
    paths = [paths[int(i)] for i in np.linspace(0, len(paths) - 1, min(images, len(paths)))]
    predictor = load_predictor(model)
    rows = []
    for path in paths:
        truth = open_labels(next((folder / "labels").glob(f"{path.name.split('.')[0]}.*")))
        image = open_image(path, ndim=predictor.ndim)
        rows.append(evaluate_pair(truth.read()[0], predictor.predict(image).labels, [metric]))
    return summarize(rows)[metric]["mean"], len(paths)


def check_scores(draw: int, *, labels: int, steps: int, folds: int, images: int) -> dict[str, Any]:
    """Train with folds on a few nuclei images; the reported scores and the true one."""
    name = "dsb2018_nuclei"
    train = DATA / name / "train"
    pairs = open_pairs(train / "images", train / "labels", layout(load("cells")), channels=3)
    chosen = [pairs[i].name for i in order_images(find_kinds(pairs), draw)[:labels]]
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("images", "labels"):
            (Path(folder) / kind).mkdir()
            for stem in chosen:
                shutil.copy(train / kind / f"{stem}.png", Path(folder) / kind)
        given: dict[str, Any] = {
            "images": Path(folder) / "images",
            "labels": Path(folder) / "labels",
        }
        own = [f"train.folds={folds}", "train.steps=1", *SHORT]
        recipe = unmask.plan(**given, init=START, settings=own)
        recipe = recipe.with_decisions(schedule_decisions(steps, "")).recipe
        recipe = recipe.with_settings(
            [f"train.validate_every={max(10, steps // 4)}", f"train.save_every={steps}"]
        )
        begin = time.process_time()
        run = unmask.train(recipe, **given, out=Path(folder) / "run", init=START)
        used = time.process_time() - begin
        scores = load_scores(run.folder)
        score, count = true_score(run.folder, name, "f1@0.5", images)
        outputs = run.folder / HELD_OUT / "outputs"
        size = sum(path.stat().st_size for path in outputs.iterdir())
    if scores is None:
        raise RuntimeError("The run wrote no scores.")
    reported = scores.expected["f1@0.5"] or 0.0
    return {
        "set": name,
        "draw": draw,
        "labels": labels,
        "folds": folds,
        "updates": scores.steps,
        "cpu_seconds": round(used, 1),
        "untuned": round(scores.metrics["f1@0.5"] or 0.0, 4),
        "reported": round(reported, 4),
        "true": round(score, 4),
        "difference": round(reported - score, 4),
        "tuned": [] if scores.tuned is None else list(scores.tuned.settings),
        "val_images": count,
        "megabytes_of_outputs": round(size / 1e6, 1),
    }


# Crops small enough for one slow CPU; the same for all draws.
SHORT = ("data.crop=[128, 128]", "train.batch_size=2", "train.workers=0")


def store(name: str, rows: Sequence[dict[str, Any]], keys: Sequence[str], budget: str) -> Path:
    """Add rows to docs/results/<name>.json; rows of the same keys are replaced."""
    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
    new = {tuple(str(row[key]) for key in keys): row for row in [*old, *rows]}
    runs = list(new.values())
    result = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "budget": budget,
        "rows": table(runs),
        "runs": runs,
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def table(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the results pages: plan and preset, or reported and true score."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        if "draw" in run:
            what = f"out-of-fold score of {run['labels']} labels, draw {run['draw']}"
            note = f"{run['folds']} folds, {run['updates']} updates each; peer: true score"
            rows.append(_row(what, [(run["reported"], run["true"])], "f1@0.5", note))
    budgets = dict.fromkeys(_budget(run) for run in runs if "recipe" in run)
    return rows + [row for each in budgets for row in _plan_row(runs, each)]


def _plan_row(
    runs: Sequence[dict[str, Any]], budget: tuple[str, float]
) -> Iterator[dict[str, Any]]:
    """Mean of the seeds of both, if there are any."""
    same = [run for run in runs if "recipe" in run and _budget(run) == budget]
    plans = {run["seed"]: run for run in same if run["recipe"] == "plan"}
    peers = {run["seed"]: run for run in same if run["recipe"] != "plan"}
    seeds = [seed for seed in plans if seed in peers]
    if not seeds:
        return
    first, peer = plans[seeds[0]], peers[seeds[0]]
    values = [(plans[seed]["score"], peers[seed]["score"]) for seed in seeds]
    note = f"{first['updates']} updates; peer: {peer['recipe']}, {peer['updates']}; "
    note += f"{first['images']} images"
    if len(values) > 1:
        note += "; differences " + ", ".join(f"{a - b:+.3f}" for a, b in values)
    yield _row(f"plan on {budget[0]}, {budget[1]:g} CPU s", values, first["metric"], note)


def _row(what: str, values: Sequence[tuple[float, float]], unit: str, note: str) -> dict[str, Any]:
    """Means of both sides and their ratio."""
    ours, peer = (statistics.fmean(side) for side in zip(*values, strict=True))
    cells = (what, round(ours, 4), round(peer, 4), ours / peer if peer else None, None, unit, note)
    return dict(zip(COLUMNS, cells, strict=True))


def _budget(run: dict[str, Any]) -> tuple[str, float]:
    return run["set"], run["cpu_seconds_asked"]


def main() -> None:
    """Run one of the three studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=("presets", "others", "held_out"))
    parser.add_argument("--sets", nargs="*", choices=[*STUDIES, *OTHERS])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--images", type=int, default=86, help="of val, at most")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--labels", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--folds", type=int, default=5)
    given = parser.parse_args()
    if given.study != "held_out":
        keys = ("set", "recipe", "cpu_seconds_asked", "seed")
        sets = given.sets or list(STUDIES if given.study == "presets" else OTHERS)
        for name, seed in product(sets, list[int](given.seeds)):
            for row in compare(name, given.seconds, given.images, seed):
                print(row, flush=True)
                store(f"plans_{given.study}", [row], keys, _EQUAL)
        return
    rows = []
    for draw in range(given.first, given.first + given.draws):
        more = {"labels": given.labels, "steps": given.steps, "folds": given.folds}
        rows.append(check_scores(draw, images=given.images, **more))
        print(rows[-1], flush=True)
        store("plans_held_out", rows, ("draw", "labels", "folds", "updates"), _SHORT)
    print("mean |difference|", statistics.fmean(abs(row["difference"]) for row in rows))


_EQUAL = (
    "One thread. Updates are as many as fit into cpu_seconds_asked by a measurement of single "
    "updates; cpu_seconds is what the training used, with start-up. No validation, last weights."
)
_SHORT = (
    "One thread, phantoms2d, crops of 128 x 128, 2 per update. Scores are those of short "
    "trainings; what counts is their difference."
)

if __name__ == "__main__":
    main()
