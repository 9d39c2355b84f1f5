"""Does the uncertainty of objects find the wrong ones? AUROC for IoU < 0.5 on the nuclei.

The shipped model predicts the validation images of ``dsb2018_nuclei`` (``UNMASK_DATA``). The
calibration of each image is fitted to all other images. Writes ``docs/results/uncertainty.json``.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from harness import write
from unmask.api.assessment import Judged, measure_doubts, predict_held_out
from unmask.data.pairs import Layout, open_pairs
from unmask.infer.load import load_predictor
from unmask.metrics.calibration import auroc, fit_calibration

GOAL = "goal 0.80"
WORDS = {"scores": "scores of one view", "views": "and mirrored views compared"}


def collect(judged: list[Judged]) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """Mean uncertainty of the objects of each image and whether they are right, by kind."""
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for item in judged:
        for name, (values, right) in measure_doubts(item, objects=True, ignore=None).items():
            both = found.setdefault(name, ([], []))
            both[0].append(values)
            both[1].append(right)
    return found


def main() -> None:
    """Predict, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=None, help="the first images only")
    count = parser.parse_args().images
    torch.set_num_threads(1)
    root = Path(os.environ["UNMASK_DATA"]) / "dsb2018_nuclei" / "val"
    predictor = load_predictor("nuclei")
    layout = predictor.layout or Layout(2)
    pairs = open_pairs(root / "images", root / "labels", layout, channels=predictor.channels)
    chosen = list(islice(pairs, count))
    rows = []
    for title, each in (
        ("one view", predictor),
        ("--tta", replace(predictor, views=replace(predictor.views, flips=((), (0,), (1,))))),
    ):
        for name, (values, right) in collect(list(predict_held_out(each, chosen))).items():
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
    write("uncertainty", rows)


if __name__ == "__main__":
    main()
