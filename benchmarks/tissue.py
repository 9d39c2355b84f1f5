"""Affinities on electron microscopy: train a preset, then every decoder side by side.

    python benchmarks/tissue.py membranes   preset membranes2d on isbi2012_em
    python benchmarks/tissue.py neurites    preset neurites3d on fib25_em3d
    python benchmarks/tissue.py neurites --run "from scratch=runs/a" --run "pre-trained=runs/b" \\
                                         --run "mean of both=runs/a+runs/b"

Every decoder's options are chosen on a part of the training images, with the first run, and
reported on the validation images, with and without the average over flips. ARAND and VOI ignore
truth 0 and are means over images. Data, runs and results lie where accuracy.py has them; scores and
what was chosen are kept next to the run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from accuracy import DATA, ROOT, Study, train
from decoders import THRESHOLDS, Scene, candidates, compare, describe_options, read
from harness import write
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels

# What clearing membranes may cost, as a share of the VOI, where it is chosen by F1.
_COST = 0.1
_FRAGMENTS = {"sigma": 1.0, "smooth_boundary": False}


@dataclass(frozen=True)
class Tissue:
    """A data set and how its affinities are decoded.

    Attributes:
        study: what is trained; its anchor is the VOI of a plain network trained elsewhere.
        anchors: that network's other figures.
        tuning: training images that options are chosen on, and the part of each that is read.
        options: candidates next to their thresholds.
        strides: further candidates of the mutex watershed.
        sizes: values of ``min_size``, the first of which stands while the others are chosen.
        clear: values of ``alone_below``, chosen by F1 where that costs little VOI.
    """

    study: Study
    anchors: Mapping[str, float]
    tuning: tuple[slice, tuple[slice, ...]]
    options: Mapping[str, Any] = field(default_factory=dict)
    strides: Sequence[Any] = ()
    sizes: Sequence[int] = (0,)
    clear: Sequence[float] = (0.0,)


TISSUES = {
    "membranes": Tissue(
        Study("isbi2012_em", "membranes2d", ("voi",), 0.156),
        {"arand": 0.0235, "f1@0.5": 0.71},
        (slice(0, None, 5), (slice(None), slice(None))),
        {"watershed": _FRAGMENTS, "thresholds": (*THRESHOLDS, 0.75, 0.8, 0.85, 0.9)},
        (2, 4),
        (50, 20, 100),
        (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5),
    ),
    "neurites": Tissue(
        Study("fib25_em3d", "neurites3d", ("voi",), 0.976),
        {"arand": 0.112},
        (slice(None), (slice(118, 150), slice(None), slice(None))),
        {"watershed": _FRAGMENTS, "thresholds": (0.4, 0.5, 0.6, 0.7, 0.8)},
        (4, 5, 6),
        (500, 200),
    ),
}


def averaged(tissue: Tissue, runs: Sequence[Path], *, flips: bool) -> list[Scene]:
    """Mean affinities of several runs on the validation images."""
    each = [scenes(tissue, run, "val", flips=flips) for run in runs]
    return [
        replace(one[0], affinities=np.mean([scene.affinities for scene in one], axis=0))
        for one in zip(*each, strict=True)
    ]


def scenes(tissue: Tissue, run: Path, part: str, *, flips: bool) -> list[Scene]:
    """Affinities with truth of the validation images, or of what options are chosen on."""
    ndim = len(tissue.tuning[1])
    views = [[a for a in range(ndim) if on[a]] for on in product((0, 1), repeat=ndim)]
    predictor = load_predictor(run, [f"infer.tta={views if flips else False}"])
    offsets = predictor.task.offsets  # pyright: ignore[reportAttributeAccessIssue]
    folder = DATA / tissue.study.folder / part
    images, cut = tissue.tuning if part == "train" else (slice(None), (slice(None),) * ndim)
    found: list[Scene] = []
    for path in sorted((folder / "images").iterdir())[images]:
        kept = run / f"scores_{part}_{path.stem}{'_flips' * flips}.npz"
        if not kept.is_file():
            image = open_image(path, ndim=ndim).read()[(slice(None), *cut)]
            truth = open_labels(folder / "labels" / path.name, ndim=ndim).read()[0][tuple(cut)]
            scores = predictor.scores(image)[: len(offsets)].astype(np.float16)
            np.savez(kept, affinities=scores, offsets=np.array(offsets), truth=truth)
        found.append(read(kept))
    return found


def tried(tissue: Tissue) -> Iterator[dict[str, Any]]:
    """Everything that is compared, each once."""
    seen: list[dict[str, Any]] = []
    for strides in tissue.strides:
        for options in candidates(strides=strides, min_size=tissue.sizes[0], **tissue.options):
            if options not in seen:
                seen.append(options)
                yield options


def chosen(tissue: Tissue, given: Sequence[Scene]) -> list[dict[str, Any]]:
    """The options of each decoder: by VOI, then the sizes by VOI, then the membranes by F1."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for options, figures in compare(given, tried(tissue)):
        name = named(options)
        if name not in best or figures["voi"] < best[name][0]:
            best[name] = (figures["voi"], dict(options))
    return [_cleared(tissue, given, *_sized(tissue, given, *one)) for one in best.values()]


def _sized(
    tissue: Tissue, given: Sequence[Scene], voi: float, options: Mapping[str, Any]
) -> tuple[float, dict[str, Any]]:
    """With the smallest object that has the lowest VOI."""
    others = [{**options, "min_size": size} for size in tissue.sizes[1:]]
    rows = [(voi, dict(options))]
    rows += [(figures["voi"], dict(each)) for each, figures in compare(given, others)]
    return min(rows, key=lambda row: row[0])


def _cleared(
    tissue: Tissue, given: Sequence[Scene], voi: float, options: Mapping[str, Any]
) -> dict[str, Any]:
    """With the ``alone_below`` of the highest F1."""
    if len(tissue.clear) == 1:
        return dict(options)
    others = [{**options, "alone_below": below} for below in tissue.clear]
    rows = [
        (f["f1@0.5"], dict(o)) for o, f in compare(given, others) if f["voi"] <= (1 + _COST) * voi
    ]
    return max(rows, key=lambda row: row[0])[1]


def named(options: Mapping[str, Any]) -> str:
    """The decoder, with the statistic of its edges where there are two."""
    return options["method"] + (f", {options['quantile']} %" if "quantile" in options else "")


def lines(
    tissue: Tissue, label: str, options: Mapping[str, Any], figures: Mapping[str, float]
) -> list[dict[str, object]]:
    """A row for each metric of one decoder."""
    shown = {k: v for k, v in options.items() if k not in {"method", "watershed", "quantile"}}
    note = ", ".join(f"{name} {value}" for name, value in shown.items())
    note += f"; {figures['s']:.2f} s of decoding per image"
    study = tissue.study
    anchors = {"voi": study.anchor, **tissue.anchors}
    return [
        {
            "what": f"{study.preset} on {study.folder}{label}, {named(options)}",
            "ours": figures[unit],
            "peer": anchors.get(unit),
            "unit": unit,
            "note": note,
        }
        for unit in ("voi", "arand", "f1@0.5")
    ]


def main() -> None:
    """Train, or take trained runs, and write the table of the decoders."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=TISSUES)
    parser.add_argument("--run", action="append", default=[], help="LABEL=FOLDER of a trained run")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "accuracy")
    parser.add_argument("--flips-only", action="store_true", help="report averages over flips only")
    given = parser.parse_args()
    tissue = TISSUES[given.name]
    runs: dict[str, list[Path]] = {}
    for label, _, folders in (each.partition("=") for each in given.run):
        runs[f", {label}" if label else ""] = [Path(run) for run in folders.split("+")]
    if not runs:
        runs = {"": [train(tissue.study, given.out / given.name, tissue.study.settings)]}
    rows: list[dict[str, object]] = []
    for flips in (True,) if given.flips_only else (False, True):
        picked = options_of(tissue, next(iter(runs.values()))[0], flips=flips)
        for label, folders in runs.items():
            what = label + ", flips averaged" * flips
            for options, figures in compare(averaged(tissue, folders, flips=flips), picked):
                rows += lines(tissue, what, options, figures)
                print(describe_options(options, figures), what, flush=True)
    write(f"accuracy_{given.name}", rows)


def options_of(tissue: Tissue, run: Path, *, flips: bool) -> list[dict[str, Any]]:
    """What ``chosen`` finds, once for each run."""
    kept = run / f"decoders{'_flips' * flips}.json"
    if not kept.is_file():
        found = chosen(tissue, scenes(tissue, run, "train", flips=flips))
        kept.write_text(json.dumps(found), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
