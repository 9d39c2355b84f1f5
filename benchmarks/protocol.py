"""The NeurIPS cell challenge's ways of spending more passes, on the nuclei of this project.

    python benchmarks/protocol.py MODEL [MODEL ...]

Every model alone, then all averaged; each with one view of windows of 256, with three views of
them, and as published for MEDIAR: windows of 512 that overlap by 0.6, raw outputs averaged. All 86
validation images of dsb2018_nuclei are measured by F1 at IoU 0.5 and by the challenge's own rules,
with the mean over the kinds of images. A pass is one window of one view through one network.
Data are read from UNMASK_DATA; the figures go to docs/results/protocol.json.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from accuracy import DATA, kinds_of
from harness import write
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_image, open_labels
from windows import PUBLISHED, VIEWS, passes, tried

METRICS = ("f1@0.5", "cellseg_f1", "aji")
WAYS = {
    "one view": ["infer.tile=[256, 256]"],
    "three views": ["infer.tile=[256, 256]", VIEWS],
    "as published": ["infer.tile=[512, 512]", *PUBLISHED],
}


def row(
    name: str, predictor: Predictor, pairs: Sequence[tuple[Image, Any]], models: int
) -> dict[str, Any]:
    """Mean figures over the images, with what they cost."""
    kinds = dict(kinds_of(DATA / "dsb2018_nuclei" / "index.csv"))
    predictor.predict(pairs[0][0])  # kernels are compiled before the clock starts
    values, seconds = tried(predictor, pairs, METRICS)
    by_kind = defaultdict(list)
    for (image, _), each in zip(pairs, values, strict=True):
        by_kind[kinds[image.name]].append(each["f1@0.5"])
    balanced = statistics.fmean(statistics.fmean(each) for each in by_kind.values())
    means = {metric: statistics.fmean(each[metric] for each in values) for metric in METRICS}
    count = models * statistics.fmean(passes(predictor, image) for image, _ in pairs)
    return {
        "what": name,
        "ours": means["f1@0.5"],
        "unit": "f1@0.5",
        "note": f"mean of the kinds {balanced:.3f}, cellseg_f1 {means['cellseg_f1']:.3f}, "
        f"aji {means['aji']:.3f}; {count:.1f} passes and {seconds:.2f} CPU s per image",
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "models", nargs="+", help="name of a shipped model, or NAME=FOLDER of a run"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = DATA / "dsb2018_nuclei" / "val"
    pairs = [
        (open_image(path, ndim=2), open_labels(folder / "labels" / path.name, ndim=2).read()[0])
        for path in sorted((folder / "images").iterdir())
    ]
    named = [model.rpartition("=")[::2] for model in asked.models]
    models: dict[str, list[str]] = {name or where: [where] for name, where in named}
    if len(models) > 1:
        models["all averaged"] = [where for _, where in named]
    rows = []
    for name, each in models.items():
        for way, lines in WAYS.items():
            rows.append(row(f"{name}, {way}", load_predictor(each, lines), pairs, len(each)))
            print(rows[-1], flush=True)
    write("protocol", rows)


if __name__ == "__main__":
    main()
