"""F1 of nuclei after a training from scratch of exactly so many CPU minutes on one thread.

    python benchmarks/minutes.py resunet --precision 32 --select   choose on training images
    python benchmarks/minutes.py resunet --precision 32            train on all, measure on val
    python benchmarks/minutes.py mit --precision auto --minutes 25

Data are `dsb2018_nuclei` (UNMASK_DATA). The minutes are CPU time of the whole process, from its
start to the last update: imports, reading files, the choice of the precision, timing and data
included. A few updates are timed first; their number is planned so that the learning rate reaches
its end with the budget, and the run is stopped if it is too slow (`cpu_budget`). ``--select``
trains without every sixth training image and measures on those; validation images choose nothing.
The same command resumes. Results go to docs/results/training25.json, those of ``--select`` only to
the terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import torch

import unmask
from accuracy import DATA, ROOT, STUDIES, measure
from cpu_budget import PLAN, SPENT, read_spent
from harness import RESULTS, write
from training_steps import time_steps
from unmask.build import layout, resolve_recipe
from unmask.checkpoint import load_snapshot
from unmask.data.pairs import apply_view, open_pairs
from unmask.errors import Interrupted
from unmask.recipe import Recipe
from unmask.training.precision import measure_precision

NAME = "training25"
HELD_OUT = 6
# Timed updates, of which the first ones compile kernels and take memory.
TIMED, WARM = 15, 4
# Updates that are planned, as a share of those that fit if all take as long as the timed ones.
MARGIN = 0.97
# CPU seconds to write snapshots and the model.
SAVING = 4.0
# A plain U-Net after 25 CPU minutes on a core without AMX, on other held-back images. Cellpose
# 3.1.1.3 has 0.629.
PEER = 0.740

# No validation, so that all of the time goes to updates.
_SHARED = (
    "data.holdout=0",
    "data.sampling={name: modalities, clusters: 12, floor: 40, features: statistics}",
    "train.validate_every=0",
    "train.save_every=200",
    "train.warmup=50",
    "train.ema=0.99",
    f"train.trackers=[{Path(__file__).with_name('cpu_budget.py')}:CpuBudget]",
    "infer.tile=[256, 256]",
)
RECIPES: Mapping[str, Sequence[str]] = {
    # Small crops and batches: more updates per minute than the preset, which has an hour.
    "resunet": ("data.crop=[192, 192]", "train.batch_size=4", "train.lr=0.002"),
    # More images per update at half the width, for the same time.
    "narrow": (
        "model.backbone={name: resunet, width: 16, depth: 5}",
        "data.crop=[192, 192]",
        "train.batch_size=8",
        "train.lr=0.002",
    ),
    # As in accuracy.py, where it was ahead of its own AdamW at equal time.
    "mit": [line for line in STUDIES["mediar"].settings if "steps" not in line],
}


class Budget:
    """CPU seconds that are left for a run in ``folder``, which resumes where it was saved."""

    def __init__(self, folder: Path, limit: float) -> None:
        self.folder, self.limit = folder, limit
        snapshot = load_snapshot(folder / "run", report=print) if self.run.is_dir() else None
        lines = [] if snapshot is None else read_spent(folder)
        saved = [line["cpu"] for line in lines if line["step"] <= snapshot.step]  # pyright: ignore[reportOptionalMemberAccess]
        self.before = max(saved, default=0.0)
        self.resumes = bool(saved)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def spent(self) -> float:
        """CPU seconds of the run up to now."""
        return self.before + time.process_time()

    def note(self) -> None:
        """Tell the tracker."""
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = {"limit": self.limit - SAVING, "before": self.before}
        (self.folder / PLAN).write_text(json.dumps(plan), encoding="utf-8")


def train(recipe: Recipe, images: Sequence[Path], budget: Budget) -> None:
    """Plan the updates, and train until they are done or the time is over."""
    budget.note()
    if not budget.resumes:
        (budget.folder / SPENT).unlink(missing_ok=True)
        recipe = plan_updates(recipe, images, budget)
    try:
        unmask.train(
            budget.run / "recipe.yaml" if budget.resumes else recipe,
            images=images,
            labels=[labels_of(path) for path in images],
            out=budget.run,
            init=None,
            resume=budget.resumes,
        )
    except Interrupted as stopped:
        if budget.spent() < 0.9 * budget.limit:
            raise
        print(f"The time is over: {stopped}", flush=True)


def plan_updates(recipe: Recipe, images: Sequence[Path], budget: Budget) -> Recipe:
    """The recipe with its precision and as many updates as fit into the rest of the time."""
    rules = layout(recipe)
    files = images, [labels_of(path) for path in images]
    pairs = apply_view(open_pairs(*files, rules, channels=recipe.data.channels), rules.view)
    recipe = measure_precision(pairs, recipe, "cpu").recipe
    steps = time_steps(recipe, pairs, TIMED)
    update = (steps.marks[-1] - steps.marks[WARM]) / (len(steps.marks) - 1 - WARM)
    # The training reads and measures all files once more, and times its precision.
    left = budget.limit - budget.spent() - steps.once - 4 * update - SAVING
    count = int(MARGIN * left / update)
    print(
        f"{update:.3f} CPU s per update in {recipe.train.precision}, {steps.once:.1f} s to read; "
        f"{budget.spent():.0f} s spent; {count} updates planned",
        flush=True,
    )
    if count < 10:
        raise SystemExit(f"Expected time for 10 updates, found {count}. Give more --minutes.")
    return recipe.with_settings([f"train.steps={count}"])


def labels_of(image: Path) -> Path:
    """The labels of an image."""
    return image.parent.parent / "labels" / image.name


def report(asked: argparse.Namespace, budget: Budget, images: Sequence[Path]) -> None:
    """Measure, print and store."""
    study, run = STUDIES["nuclei"], budget.run
    lines = read_spent(budget.folder)
    done = resolve_recipe(run / "recipe.yaml", []).train
    measured = partial(measure, study, [run], images=images)
    plain, flips = (measured(["infer.tta=" + value]) for value in ("false", "true"))
    kinds = ", ".join(
        f"{kind} {values['f1@0.5']:.3f}" for kind, values in sorted(plain.items()) if kind != "all"
    )
    where = "held-back training images" if asked.select else "val images"
    label = f"{asked.recipe}, {name_of(done.precision)}, F1 on {len(images)} {where}"
    spent = f"{lines[-1]['cpu']:.0f} CPU s, {lines[-1]['step']} of {done.steps} updates"
    note = f"{spent}; flips averaged {flips['all']['f1@0.5']:.3f}; AJI {plain['all']['aji']:.3f}"
    value = {
        "what": f"{label} after {asked.minutes:g} CPU minutes from scratch",
        "ours": plain["all"]["f1@0.5"],
        "peer": PEER if asked.minutes == 25 else None,
        "unit": "f1@0.5",
        "note": f"{note}; {kinds}",
    }
    if asked.select or asked.trial or asked.few > 1:
        print(value)
    else:
        store(value)


def name_of(precision: str) -> str:
    """The precision as readers know it."""
    return {"32": "float32", "bf16": "bfloat16"}.get(precision, precision)


def store(value: Mapping[str, Any]) -> None:
    """Add a row to those of other runs."""
    path = RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    write(NAME, [*(row for row in rows if row["what"] != value["what"]), value])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="auto")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--select", action="store_true", help="hold training images back")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "minutes")
    parser.add_argument("--few", type=int, default=1, help="use one of so many images, for a trial")
    parser.add_argument("--try", action="store_true", dest="trial", help="print, store nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = DATA / "dsb2018_nuclei"
    images = sorted((data / "train" / "images").iterdir())
    scored = sorted((data / "val" / "images").iterdir())
    if asked.select:
        scored = images[::HELD_OUT]
        images = sorted(set(images) - set(scored))
    images, scored = images[:: asked.few], scored[:: asked.few]
    own = [*_SHARED, *RECIPES[asked.recipe], f"train.precision={asked.precision}", *asked.set]
    name = f"{asked.recipe}_{asked.precision}_{asked.minutes:g}{'_select' * asked.select}"
    budget = Budget(asked.out / name, 60 * asked.minutes)
    if not (budget.folder / "done").exists():
        train(resolve_recipe("cells", own), images, budget)
        print(f"{budget.spent():.0f} CPU s spent", flush=True)
        (budget.folder / "done").touch()
    report(asked, budget, scored)


if __name__ == "__main__":
    main()
