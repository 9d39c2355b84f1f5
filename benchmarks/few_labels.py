"""Start weights with n labels against random weights with more labels, on real images.

    python benchmarks/few_labels.py run --out RUNS [--sets dsb2018_nuclei] [--draws 5] [--hours 2]
    python benchmarks/few_labels.py table --out RUNS      writes docs/results/few_labels.json

Draws are nested, stratified by the look of the images, and the same for both arms. Validation
images choose nothing. A finished training is one line of RUNS/rows.jsonl; ``run`` continues with
those that are missing. Data are read from UNMASK_DATA.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import unmask
from accuracy import DATA
from harness import write
from start_scores import STUDIES, Study, score
from unmask.apps.curve_draws import find_kinds, order_images
from unmask.apps.curve_table import bootstrap_interval
from unmask.data.pairs import Pair
from unmask.io import open_image, open_labels


@dataclass(frozen=True)
class Comparison:
    """Which trainings of a set are compared.

    Attributes:
        counts: numbers of labeled images, or of patients, with start weights.
        factor: random weights have so many times as many labels.
        updates: with start weights.
        scratch: updates with random weights.
        model: the start weights.
    """

    counts: tuple[int, ...]
    factor: int
    updates: int
    scratch: int
    model: str = "phantoms2d"


@dataclass(frozen=True)
class Arm:
    """One training: ``count`` labeled images of a draw, from initial weights."""

    set: str
    draw: int
    count: int
    init: str
    updates: int

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others in the file of rows."""
        return (self.set, self.draw, self.count, self.init, self.updates)


COMPARISONS = {
    "dsb2018_nuclei": Comparison((1, 2, 4, 8), 4, 600, 1200),
    "usiigaci_phase": Comparison((1, 2, 4), 1, 400, 400),
    "germline_nuclei": Comparison((1, 2, 4), 1, 400, 400),
    "worms_bbbc010": Comparison((1, 2, 4), 1, 400, 400),
    "bacteria_dapi": Comparison((1, 2), 1, 400, 400),
    "isbi2012_em": Comparison((1, 2, 5), 2, 400, 400),
    "cardiac_cine_mri": Comparison((1, 2, 4), 2, 400, 400),
    "superalloy_sem": Comparison((1, 2), 2, 400, 400),
    "hippocampus_mri": Comparison((2, 4, 8), 2, 400, 400, "phantoms3d"),
}


def arms_of(name: str, draw: int) -> Iterator[Arm]:
    """Trainings of a draw; an arm that two counts share comes once."""
    plan = COMPARISONS[name]
    seen: set[Arm] = set()
    for count in plan.counts:
        for arm in (
            Arm(name, draw, count, plan.model, plan.updates),
            Arm(name, draw, count * plan.factor, "none", plan.scratch),
        ):
            if arm not in seen:
                seen.add(arm)
                yield arm


def draw_images(name: str, draw: int, study: Study) -> list[list[Path]]:
    """Training images in the order of the draw; the slices of a patient stay together."""
    images = sorted((DATA / name / "train" / "images").iterdir())
    groups: dict[str, list[Path]] = {}
    for path in images:
        whole = path.name.partition("-IM")[0] if name == "cardiac_cine_mri" else path.name
        groups.setdefault(whole, []).append(path)
    first = [each[0] for each in groups.values()]
    pairs = [
        Pair(
            name=path.name,
            image=open_image(path, ndim=study.ndim),
            labels=open_labels(path.parents[1] / "labels" / path.name, ndim=study.ndim),
        )
        for path in first
    ]
    members = list(groups.values())
    return [members[index] for index in order_images(find_kinds(pairs), draw)]


def train(arm: Arm, images: Sequence[Path], study: Study, out: Path) -> Path:
    """Train one arm; its model. Everything but images, weights and updates is equal."""
    run = unmask.train(
        study.preset,
        images=list(images),
        labels=[path.parents[1] / "labels" / path.name for path in images],
        out=out,
        init=arm.init,
        settings=[
            *study.settings,
            f"train.steps={arm.updates}",
            "train.warmup=50",
            "train.lr=0.002",
            "train.ema=0.99",
            "train.precision=bf16",
            "train.validate_every=0",
            "train.save_every=1000000",
            "data.holdout=0",
            f"train.seed={arm.draw}",
        ],
    )
    return run.model


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Finished trainings."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def run(asked: argparse.Namespace) -> None:
    """Do what is missing, draw after draw, until the time is over."""
    asked.out.mkdir(parents=True, exist_ok=True)
    file, began = asked.out / "rows.jsonl", time.monotonic()
    done = {
        (row["set"], row["draw"], row["count"], row["init"], row["updates"])
        for row in read_rows(file)
    }
    for draw in range(asked.draws):
        for name in asked.sets or COMPARISONS:
            study = STUDIES.get(name, Study())
            order = draw_images(name, draw, study)
            for arm in arms_of(name, draw):
                if arm.key in done or arm.count > len(order):
                    continue
                if time.monotonic() - began > asked.hours * 3600:
                    return
                folder = asked.out / "_".join(map(str, arm.key))
                shutil.rmtree(folder, ignore_errors=True)
                used = time.process_time()
                images = [path for group in order[: arm.count] for path in group]
                model = train(arm, images, study, folder)
                seconds = round(time.process_time() - used, 1)
                row = {**vars(arm), **score(model, name), "train_seconds": seconds}
                shutil.rmtree(folder)
                with file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
                print(row, flush=True)


def compare(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row per set, number of labels and metric: means, and the paired differences of draws."""
    found = {
        (row["set"], row["draw"], row["count"], row["init"], row["updates"]): row for row in rows
    }
    for name, plan in COMPARISONS.items():
        metrics = STUDIES.get(name, Study()).metrics
        draws = sorted({row["draw"] for row in rows if row["set"] == name})
        for count in plan.counts:
            many = count * plan.factor
            pairs = [
                (found[start], found[plain])
                for draw in draws
                if (start := (name, draw, count, plan.model, plan.updates)) in found
                and (plain := (name, draw, many, "none", plan.scratch)) in found
            ]
            for metric in metrics if len(pairs) > 1 else ():
                ours = [start[metric] for start, _ in pairs]
                peer = [plain[metric] for _, plain in pairs]
                differences = [a - b for a, b in zip(ours, peer, strict=True)]
                low, high = bootstrap_interval(differences)
                yield {
                    "what": f"{name}, {count} labels and {plan.model} against {many} and random",
                    "ours": statistics.fmean(ours),
                    "peer": statistics.fmean(peer),
                    "unit": metric,
                    "note": f"difference {statistics.fmean(differences):+.3f} "
                    f"({low:+.3f} to {high:+.3f}); draws "
                    + ", ".join(f"{value:+.3f}" for value in differences)
                    + f"; {plan.updates} against {plan.scratch} updates",
                }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--out", type=Path, default=Path("runs") / "few_labels")
    parser.add_argument("--sets", nargs="*", choices=COMPARISONS)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--hours", type=float, default=24.0, help="Begin no training after them.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "run":
        run(asked)
    else:
        write("few_labels", list(compare(read_rows(asked.out / "rows.jsonl"))))


if __name__ == "__main__":
    main()
