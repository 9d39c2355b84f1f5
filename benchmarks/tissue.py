"""Affinities on electron microscopy: train a preset, then every decoder side by side.

    python benchmarks/tissue.py membranes   preset membranes2d on isbi2012_em
    python benchmarks/tissue.py neurites    preset neurites3d on fib25_em3d

Every decoder's threshold is chosen on a part of the training images and reported on the validation
images. ARAND and VOI ignore truth 0 and are means over images. Data, runs and results lie where
accuracy.py has them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accuracy import DATA, ROOT, Study, train
from decoders import Scene, candidates, compare
from harness import write
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels


@dataclass(frozen=True)
class Tissue:
    """A data set and how its affinities are decoded.

    Attributes:
        study: what is trained; its anchor is the VOI of a plain network trained elsewhere.
        anchors: that network's other figures.
        tuning: training images that thresholds are chosen on, and a part of each.
        options: candidates beside their thresholds.
    """

    study: Study
    anchors: Mapping[str, float]
    tuning: tuple[slice, tuple[slice, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)


TISSUES = {
    "membranes": Tissue(
        Study("isbi2012_em", "membranes2d", ("voi",), 0.156, ("train.steps=2200",)),
        {"arand": 0.0235, "f1@0.5": 0.71},
        (slice(0, None, 5), (slice(None), slice(None))),
        {"strides": 4, "min_size": 50, "watershed": {"sigma": 1.0}},
    ),
    "neurites": Tissue(
        Study("fib25_em3d", "neurites3d", ("voi",), 0.976),
        {"arand": 0.112},
        (slice(None), (slice(0, 32), slice(None), slice(None))),
        {"strides": (1, 4, 4), "min_size": 200, "watershed": {"sigma": 1.0}},
    ),
}


def scenes(
    tissue: Tissue, run: Path, part: str, images: slice, cut: Sequence[slice]
) -> list[Scene]:
    """Affinities of some images with their truth."""
    predictor = load_predictor(run)
    offsets = predictor.task.offsets  # pyright: ignore[reportAttributeAccessIssue]
    folder = DATA / tissue.study.folder / part
    found = []
    for path in sorted((folder / "images").iterdir())[images]:
        scores = predictor.scores(open_image(path, ndim=predictor.ndim))[: len(offsets)]
        truth = open_labels(folder / "labels" / path.name, ndim=predictor.ndim).read()[0]
        found.append(Scene(scores[(slice(None), *cut)], offsets, truth[tuple(cut)]))
    return found


def chosen(tried: Sequence[Mapping[str, Any]], given: Sequence[Scene]) -> list[Mapping[str, Any]]:
    """The options of each decoder with the lowest VOI."""
    best: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for options, figures in compare(given, tried):
        name = named(options)
        if name not in best or figures["voi"] < best[name][0]:
            best[name] = (figures["voi"], options)
    return [options for _, options in best.values()]


def named(options: Mapping[str, Any]) -> str:
    """The decoder, with the statistic of its edges where there are two."""
    return options["method"] + (" of quantiles" if "quantile" in options else "")


def lines(
    tissue: Tissue, options: Mapping[str, Any], figures: Mapping[str, float], spent: float
) -> list[dict[str, object]]:
    """A row for each metric of one decoder."""
    shown = {k: v for k, v in options.items() if k not in {"method", "watershed", "min_size"}}
    note = ", ".join(f"{name} {value}" for name, value in shown.items())
    note += f"; {figures['s']:.2f} s of decoding an image"
    note += f"; training {spent / 60:.0f} CPU minutes" if spent > 60 else ""
    study = tissue.study
    anchors = {"voi": study.anchor, **tissue.anchors}
    return [
        {
            "what": f"{study.preset} on {study.folder}, {named(options)}",
            "ours": figures[unit],
            "peer": anchors.get(unit),
            "unit": unit,
            "note": note,
        }
        for unit in ("voi", "arand", "f1@0.5")
    ]


def main() -> None:
    """Train, or take the trained run, and write the table of the decoders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=TISSUES)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "accuracy")
    given = parser.parse_args()
    tissue = TISSUES[given.name]
    begin = time.process_time()
    run = train(tissue.study, given.out / given.name, tissue.study.settings)
    spent = time.process_time() - begin
    whole = tuple(slice(None) for _ in tissue.tuning[1])
    picked = chosen(candidates(**tissue.options), scenes(tissue, run, "train", *tissue.tuning))
    rows: list[dict[str, object]] = []
    for options, figures in compare(scenes(tissue, run, "val", slice(None), whole), picked):
        rows += lines(tissue, options, figures, spent)
    write(f"accuracy_{given.name}", rows)


if __name__ == "__main__":
    main()
