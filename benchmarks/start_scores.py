"""Models on validation images of data sets, without any label of the set.

    python benchmarks/start_scores.py MODEL [MODEL ...] [--sets plant_nuclei_3d_mini]

Nothing is chosen on these images. Data are read from UNMASK_DATA. One JSON line is printed per
measurement. `few_labels.py` measures trainings with a few labels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from accuracy import DATA, kinds_of
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair

SETS = ("dsb2018_nuclei", "usiigaci_phase", "germline_nuclei", "worms_bbbc010", "bacteria_dapi")


@dataclass(frozen=True)
class Study:
    """How a set is trained on and scored.

    Attributes:
        preset: recipe of the trainings; its backbone is that of the start weights. "": a plan is
            made from the labeled images, which brings objects to a size that the network learns.
        metrics: of the validation images; the first decides.
        settings: changes to the recipe.
        ndim: number of spatial axes.
    """

    preset: str = "cells"
    metrics: tuple[str, ...] = ("f1@0.5", "aji")
    settings: tuple[str, ...] = (
        "data.crop=[128, 128]", "train.batch_size=4", "infer.tile=[256, 256]",
    )  # fmt: skip
    ndim: int = 2


# Objects that are too large for crops at the size of the images.
_PLANNED = Study("", settings=("train.folds=0", "train.batch_size=2"))
_SEMANTIC = ("data.crop=[128, 128]", "train.batch_size=4", "task.classes=3")
STUDIES = {
    "usiigaci_phase": _PLANNED,
    "germline_nuclei": _PLANNED,
    "worms_bbbc010": _PLANNED,
    "cardiac_cine_mri": Study("semantic2d", ("dice",), (*_SEMANTIC[:2], "task.classes=2")),
    "isbi2012_em": Study("membranes2d"),
    "superalloy_sem": Study("semantic2d", ("dice",), _SEMANTIC),
    "hippocampus_mri": Study(
        "semantic3d", ("dice",), ("data.crop=[32, 48, 32]", "train.batch_size=2",
                                  "task.classes=3"), 3,
    ),
    "mito_sbem_nc": Study("", settings=(*_PLANNED.settings, "data.crop=[20, 64, 64]"), ndim=3),
    "plant_nuclei_3d_mini": Study("", settings=(*_PLANNED.settings, "data.crop=[40, 40, 40]"),
                                  ndim=3),
}  # fmt: skip
# Images of a validation part that are measured, evenly spread.
MOST = 43


def score(
    model: Path | str, name: str, part: Path | None = None, settings: Sequence[str] = ()
) -> dict[str, object]:
    """Mean metrics of the validation images, and F1 by kind of image if an index has kinds.

    Args:
        model: model file, run, or name of shipped weights.
        name: of the set.
        part: folder of other images and labels; None: those of the set.
        settings: of the prediction.
    """
    folder, study = DATA / name, STUDIES.get(name, Study())
    kinds = dict(kinds_of(folder / "index.csv"))
    predictor = load_predictor(model, settings)
    # A set of one volume has no val part; its labels are never trained on without labels.
    part = part or folder / ("val" if (folder / "val").is_dir() else "train")
    files = sorted((part / "images").iterdir())
    files = files[:: max(1, len(files) // MOST)]
    rows: list[dict[str, float]] = []
    by_kind: dict[str, list[float]] = {}
    for file in files:
        truth = open_labels(part / "labels" / file.name, ndim=study.ndim).read()[0]
        predicted = predictor.predict(open_image(file, ndim=study.ndim)).labels
        values = evaluate_pair(truth, predicted, study.metrics)
        rows.append(values)
        by_kind.setdefault(kinds.get(file.stem, "all"), []).append(values[study.metrics[0]])
    found: dict[str, object] = {
        metric: round(statistics.fmean(row[metric] for row in rows), 4) for metric in study.metrics
    }
    shown = {kind: round(statistics.fmean(each), 4) for kind, each in by_kind.items()}
    return {"set": name, "images": len(rows), **found, **({"kinds": shown} if kinds else {})}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--sets", nargs="*")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for model in asked.models:
        for name in asked.sets or SETS:
            began = time.process_time()
            found = score(model, name)
            found["cpu_seconds"] = round(time.process_time() - began, 1)
            print(json.dumps({"model": model, **found}), flush=True)


if __name__ == "__main__":
    main()
