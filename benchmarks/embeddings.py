"""Nuclei by embeddings (preset ``pea_bbbc039``) against flows (preset ``cells``) at equal time.

    python benchmarks/embeddings.py

Grey images of 256 x 256 of dsb2018_nuclei. The published values of ``pea_bbbc039`` are for 200,000
updates; next to them stands the same network and task with the optimizer, the means and the smaller
crops that short trainings need. Data and runs lie where accuracy.py has them.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import unmask
from accuracy import DATA, ROOT, figures, finished
from harness import write
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair, summarize

FOLDER = DATA / "dsb2018_nuclei"
METRICS = ("aji", "fgbg_dice", "pq", "f1@0.5")


@dataclass(frozen=True)
class Way:
    """A preset with settings, of which the updates take about seven CPU minutes."""

    label: str
    preset: str
    settings: tuple[str, ...]


WAYS = (
    Way("cells (flows)", "cells", ("train.steps=200", "train.warmup=25")),
    Way(
        "pea_bbbc039, short training",
        "pea_bbbc039",
        (
            "train.steps=440",
            "data.crop=[128, 128]",
            "train.batch_size=4",
            "train.optimizer=adamw",
            "train.lr=0.001",
            "train.warmup=25",
            "train.final_lr=0.01",
            "train.clip=1.0",
            "train.ema=0.99",
            *("task.border_pairs=none", "task.side_border_pairs=none", "task.reduction=mean"),
            # the published balance of the terms, whose sums count pixels: 1000 / height
            *("task.side_weight=0.5", "task.side_decay=0.5", "task.foreground_weight=7.8"),
        ),
    ),
    Way("pea_bbbc039 as published", "pea_bbbc039", ("train.steps=30",)),
)


def subset(part: str) -> tuple[list[Path], list[Path]]:
    """Images and labels of one part."""
    with (FOLDER / "index.csv").open(encoding="utf-8") as lines:
        stems = {
            line["stem"]
            for line in csv.DictReader(lines)
            if (line["kind"], line["height"], line["width"]) == ("grey_dark", "256", "256")
        }
    images = [path for path in sorted((FOLDER / part / "images").iterdir()) if path.stem in stems]
    return images, [FOLDER / part / "labels" / path.name for path in images]


def train_run(way: Way, run: Path) -> float:
    """CPU seconds of the training, 0 where it was there already."""
    if finished(run):
        return 0.0
    images, labels = subset("train")
    begin = time.process_time()
    settings = [*way.settings, "train.validate_every=0", "data.holdout=0"]
    unmask.train(way.preset, images=images, labels=labels, out=run, settings=settings)
    return time.process_time() - begin


def measured(run: Path) -> dict[str, float]:
    """Means over the validation images."""
    predictor = load_predictor(run)
    rows: list[dict[str, float]] = []
    for image, labels in zip(*subset("val"), strict=True):
        found = predictor.predict(open_image(image, ndim=2)).labels
        rows.append(evaluate_pair(open_labels(labels, ndim=2).read()[0], found, METRICS))
    return {name: entry["mean"] for name, entry in summarize(rows).items()}


def main(ways: Sequence[Way] = WAYS) -> None:
    """Train, measure, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "accuracy")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    for number, way in enumerate(ways):
        run = given.out / f"embeddings_{number}"
        spent = train_run(way, run)
        rows += figures(f"{way.label}, dsb2018 gray 256^2", measured(run), None, spent)
    write("accuracy_embeddings", rows)


if __name__ == "__main__":
    main()
