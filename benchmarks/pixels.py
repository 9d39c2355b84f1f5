"""Pixel classifiers from few labeled pixels of one image, against the common filter bank.

    python benchmarks/pixels.py vnc_sstem [--init runs/mae]      five classes
    python benchmarks/pixels.py axon_sem [--init runs/mae]       three classes

Per draw, 20, 50 and 200 pixels per class of the middle of one training image; mean Dice over all
classes of the middles of the validation images. The reference is a random forest of 100 trees on
``skimage.feature.multiscale_basic_features`` with its defaults, on the same pixels. ``--init`` adds
the same default with features of a network, which cross-validation may choose.
Results go to docs/results/pixels_<set>.json; rows of other numbers of pixels (``--counts``) are
kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from skimage.feature import multiscale_basic_features

from harness import RESULTS, write
from unmask import open_image
from unmask.api.scribbling import scribble
from unmask.io import open_labels
from unmask.metrics import evaluate_pair
from unmask.pixels.classifier import PixelClassifier
from unmask.pixels.forest import forest_shares, grow_forest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))
REFERENCE, DEFAULT = "scikit-image", "default"
COUNTS = (20, 50, 200)
_TRAIN_SIDE, _VAL_SIDE, _IMAGES = 512, 400, 2


def middle(array: np.ndarray, side: int) -> np.ndarray:
    start = [max(0, (n - side) // 2) for n in array.shape]
    return np.ascontiguousarray(array[tuple(slice(a, a + side) for a in start)])


def load(folder: Path, side: int, most: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Middles of images and labels; classes count from 1, because 0 is unlabeled."""
    paths = sorted((folder / "images").iterdir())[:most]
    return [
        (
            middle(open_image(str(path), ndim=2).read()[0], side),
            middle(open_labels(str(folder / "labels_semantic" / path.name), ndim=2).read()[0], side)
            .astype(np.uint8) + np.uint8(1),
        )
        for path in paths
    ]  # fmt: skip


def draw(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    drawn = np.zeros_like(labels)
    for value in np.unique(labels):
        index = np.flatnonzero(labels == value)
        drawn.ravel()[rng.choice(index, min(count, len(index)), replace=False)] = value
    return drawn


def dice(truth: np.ndarray, labels: np.ndarray) -> float:
    return evaluate_pair(truth, labels, ["dice"], spacing=None)["dice"]


class Reference:
    """A random forest on scikit-image's filter bank."""

    def __init__(self) -> None:
        self._kept: dict[int, np.ndarray] = {}

    def features(self, image: np.ndarray) -> np.ndarray:
        if id(image) not in self._kept:
            self._kept[id(image)] = multiscale_basic_features(image).astype(np.float32)
        return self._kept[id(image)]

    def score(self, image: np.ndarray, drawn: np.ndarray, val: list[Any]) -> tuple[float, str]:
        rows = self.features(image)[drawn > 0]
        values, classes = np.unique(drawn[drawn > 0], return_inverse=True)
        rng = np.random.default_rng(0)
        forest = grow_forest(rows, classes, count=len(values), trees=100, rng=rng)
        scores = []
        for picture, truth in val:
            flat = self.features(picture).reshape(truth.size, -1)
            labels = values[forest_shares(forest, flat).argmax(axis=1)].reshape(truth.shape)
            scores.append(dice(truth, labels))
        return float(np.mean(scores)), "reference"


class Ours:
    """The default of ``unmask train --preset pixels``."""

    def __init__(self, image: np.ndarray, init: str | None) -> None:
        made = scribble(image, init=init)
        self._classifier = PixelClassifier(made.recipe, made._network, most_bytes=5e9)

    def score(self, image: np.ndarray, drawn: np.ndarray, val: list[Any]) -> tuple[float, str]:
        for name in self._classifier.images:
            self._classifier.remove(name)
        self._classifier.label(image, drawn, name="train")
        fitted = self._classifier.fit()
        found = [dice(truth, fitted.predictor.predict(picture).labels) for picture, truth in val]
        return float(np.mean(found)), fitted.features


def run(name: str, init: str | None, draws: int, counts: Sequence[int]) -> list[dict[str, Any]]:
    train = load(DATA / name / "train", _TRAIN_SIDE, _IMAGES)
    val = load(DATA / name / "val", _VAL_SIDE, 3)
    arms: dict[str, Reference | Ours] = {
        REFERENCE: Reference(),
        DEFAULT: Ours(train[0][0], None),
    }
    if init is not None:
        arms["with a network"] = Ours(train[0][0], init)
    rows = []
    for count in counts:
        for number in range(draws):
            image, labels = train[number % len(train)]
            drawn = draw(labels, count, np.random.default_rng([count, number]))
            row: dict[str, Any] = {"pixels": count, "draw": number}
            for arm, model in arms.items():
                begin = time.perf_counter()
                row[arm], chosen = model.score(image, drawn, val)
                row[f"{arm} features"] = chosen
                row[f"{arm} seconds"] = round(time.perf_counter() - begin, 2)
            rows.append(row)
            print(row, flush=True)
    return [summary(name, rows, arm, n) for n in counts for arm in arms if arm != REFERENCE]


def summary(name: str, rows: list[dict[str, Any]], arm: str, count: int) -> dict[str, Any]:
    """A line of the table: means, and the paired difference of every draw."""
    own = [row for row in rows if row["pixels"] == count]
    ours, peer = (float(np.mean([row[each] for row in own])) for each in (arm, REFERENCE))
    differences = ", ".join(f"{row[arm] - row[REFERENCE]:+.3f}" for row in own)
    seconds = np.mean([row[f"{arm} seconds"] for row in own])
    chosen = sum(row[f"{arm} features"] != "bank" for row in own)
    return {
        "what": f"{name}, {count} pixels per class, {arm}",
        "ours": ours,
        "peer": peer,
        "unit": "mean Dice",
        "note": f"differences per draw {differences}; {seconds:.0f} s per draw; features of the "
        f"network chosen in {chosen} of {len(own)} draws",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=["vnc_sstem", "axon_sem"])
    parser.add_argument("--init", default=None)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    given = parser.parse_args()
    result = run(given.set, given.init, given.draws, given.counts)
    path = RESULTS / f"pixels_{given.set}.json"
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    made = {row["what"] for row in result}
    write(path.stem, [*(row for row in before if row["what"] not in made), *result])
