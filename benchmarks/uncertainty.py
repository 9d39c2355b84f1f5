"""Does the uncertainty of objects find the wrong ones? AUROC for IoU < 0.5 on the nuclei.

The shipped model predicts the validation images of ``dsb2018_nuclei`` (``UNMASK_DATA``). The
calibration of each image is fitted to all other images. Writes ``docs/results/uncertainty.json``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import write
from unmask.api.assessment import Judged, measure_doubts, predict_held_out
from unmask.calibration import auroc, fit_calibration
from unmask.data.pairs import Layout, Pair, open_pairs
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Predictor

GOAL = "goal 0.80"
WORDS = {"scores": "scores of one view", "views": "and mirrored views compared"}


def collect(judged: Iterable[Judged]) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """Mean uncertainty of the objects of each image and whether they are right, by kind."""
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for item in judged:
        for name, (values, right) in measure_doubts(item, objects=True, ignore=None).items():
            both = found.setdefault(name, ([], []))
            both[0].append(values)
            both[1].append(right)
    return found


def rows_of(
    title: str, found: Mapping[str, tuple[list[np.ndarray], list[np.ndarray]]]
) -> list[dict[str, Any]]:
    """How well each kind of uncertainty ranks wrong objects, and how well it is calibrated."""
    rows = []
    for name, (values, right) in found.items():
        wrong = ~np.concatenate(right)
        fitted = fit_calibration(values, right)
        if fitted is None:
            continue
        what = f"labels of {title}: {WORDS[name]}"
        note = f"{len(wrong)} objects, {int(wrong.sum())} wrong; {GOAL}"
        rank = auroc(np.concatenate(values), wrong)
        rows.append({"what": what, "ours": rank, "unit": "AUROC", "note": note})
        error = {"what": what, "ours": fitted.error, "unit": "calibration error"}
        rows.append(error | {"note": "each image by the calibration of the others"})
    return rows


def main() -> None:
    """Predict, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="every N-th image only")
    parser.add_argument("--tta", action="store_true", help="labels of averaged views too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    predictor, pairs = open_validation()
    pairs = pairs[:: given.every]
    rows = rows_of("one view", collect(predict_held_out(predictor, pairs)))
    if given.tta:
        views = replace(predictor.views, flips=((), (0,), (1,)))
        averaged = replace(predictor, views=views)
        rows += rows_of("averaged views", collect(predict_held_out(averaged, pairs)))
    write("uncertainty", rows)


def open_validation() -> tuple[Predictor, list[Pair]]:
    """The shipped model and the validation images."""
    root = Path(os.environ["UNMASK_DATA"]) / "dsb2018_nuclei" / "val"
    predictor = load_predictor("nuclei")
    layout = predictor.layout or Layout(2)
    pairs = open_pairs(root / "images", root / "labels", layout, channels=predictor.channels)
    return predictor, list(pairs)


if __name__ == "__main__":
    main()
