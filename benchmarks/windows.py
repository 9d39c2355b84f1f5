"""How much overlap of windows, and averaging over flips, is worth: accuracy against passes.

    python benchmarks/windows.py [MODEL]

The shipped model of nuclei on every third validation image of dsb2018_nuclei, with windows of 128
voxels so that its small images need several. A pass is one window of one view through the network.
Data are read from UNMASK_DATA; the figures go to docs/results/windows.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from accuracy import DATA
from harness import write
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_image, open_labels
from unmask.metrics import evaluate_pair

WINDOW = "infer.tile=[128, 128]"
EVERY = 3
OVERLAPS = (0.0, 0.1, 0.25, 0.5, 0.6)
VIEWS = "infer.tta=[[], [1], [0]]"
PUBLISHED = [
    "infer.overlap=0.6",
    "infer.pad=zero",
    VIEWS,
    "infer.mirror_positions=true",
    "infer.average=logits",
]
METRICS = ("f1@0.5", "aji")


def settings() -> dict[str, list[str]]:
    """What is compared, by name."""
    found = {
        f"overlap {overlap}{', flips averaged' if tta else ''}": [
            WINDOW,
            f"infer.overlap={overlap}",
            f"infer.tta={str(tta).lower()}",
        ]
        for tta in (False, True)
        for overlap in OVERLAPS
    }
    return {**found, "as published for MEDIAR": [WINDOW, *PUBLISHED]}


def passes(predictor: Predictor, image: Image) -> int:
    """Windows times views of one image."""
    windows = 1
    for along in predictor.tiling.positions(image.shape[1:]):
        windows *= len(along)
    return windows * len(predictor.views.flips)


def tried(
    predictor: Predictor, pairs: Sequence[tuple[Image, Any]], metrics: Sequence[str]
) -> tuple[list[dict[str, float]], float]:
    """Figures of every image, and CPU seconds an image."""
    begin = time.process_time()
    labels = [predictor.predict(image).labels for image, _ in pairs]
    seconds = (time.process_time() - begin) / len(pairs)
    values = [
        evaluate_pair(truth, found, metrics)
        for found, (_, truth) in zip(labels, pairs, strict=True)
    ]
    return values, seconds


def row(name: str, predictor: Predictor, pairs: list[tuple[Image, Any]]) -> dict[str, Any]:
    """Mean figures over the images, with what they cost."""
    values, seconds = tried(predictor, pairs, METRICS)
    means = {metric: statistics.fmean(each[metric] for each in values) for metric in METRICS}
    count = statistics.fmean(passes(predictor, image) for image, _ in pairs)
    found = {
        "what": f"window 128, {name}",
        "ours": means["f1@0.5"],
        "unit": "f1@0.5",
        "note": f"aji {means['aji']:.3f}; {count:.1f} passes and {seconds:.2f} CPU s per image",
    }
    print(found, flush=True)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="nuclei")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = DATA / "dsb2018_nuclei" / "val"
    pairs = [
        (open_image(path, ndim=2), open_labels(folder / "labels" / path.name, ndim=2).read()[0])
        for path in sorted((folder / "images").iterdir())[::EVERY]
    ]
    compared = {name: load_predictor(asked.model, lines) for name, lines in settings().items()}
    # Kernels are compiled before the clock starts.
    next(iter(compared.values())).predict(pairs[0][0])
    write("windows", [row(name, each, pairs) for name, each in compared.items()])


if __name__ == "__main__":
    main()
