"""Every decoder of affinities side by side, at a few thresholds, on saved predictions.

    python benchmarks/decoders.py scores.npz [more.npz ...] [--strides 1 5 5] [--per-slice] ...

A file holds ``affinities (k, *space)``, ``offsets (k, axes)``, ``truth (*space)`` and, where
objects have background between them, ``foreground (*space)``. Figures are means over the files;
ARAND and VOI ignore truth 0. Choose on a part of the training data, report on the validation data.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.labels.affinities import segment
from unmask.metrics import evaluate_pair

METRICS = ("arand", "voi_split", "voi_merge", "voi", "f1@0.5", "f1@0.75", "dic")
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
QUANTILES = (50, 75)


@dataclass(frozen=True)
class Scene:
    """Affinities of one image with its truth."""

    affinities: np.ndarray
    offsets: Sequence[Sequence[int]]
    truth: np.ndarray
    foreground: np.ndarray | None = None


def candidates(
    *,
    strides: Sequence[int] | int = 1,
    watershed: Mapping[str, Any] | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
    min_size: int = 0,
) -> list[dict[str, Any]]:
    """Options of ``segment``, with its method, for everything that is tried."""
    cut = {"watershed": dict(watershed or {})}
    tried: list[dict[str, Any]] = [
        {"method": "mutex", "strides": strides, "join_above": above} for above in (-1, *thresholds)
    ]
    for method in ("waterz", "average"):
        tried += [{"method": method, "threshold": t} | cut for t in thresholds]
    for quantile in QUANTILES:
        tried += [
            {"method": "waterz", "quantile": quantile, "threshold": t} | cut for t in thresholds
        ]
    tried += [{"method": "multicut", "beta": t} | cut for t in thresholds]
    return [each | {"min_size": min_size} for each in tried]


def compare(
    scenes: Sequence[Scene], tried: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], dict[str, float]]]:
    """Options, and the means over the scenes of all metrics and of the seconds of decoding."""
    for options in tried:
        rows = []
        for scene in scenes:
            begin = time.process_time()
            found = segment(scene.affinities, scene.offsets, foreground=scene.foreground, **options)
            seconds = time.process_time() - begin
            rows.append(evaluate_pair(scene.truth, found, METRICS) | {"s": seconds})
        yield options, {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def describe_options(options: Mapping[str, Any], figures: Mapping[str, float]) -> str:
    """One line of the table."""
    shown = {k: v for k, v in options.items() if k not in ("method", "watershed", "min_size")}
    what = options["method"] + " " + " ".join(f"{k}={v}" for k, v in shown.items())
    return f"{what:<42}" + "".join(f"{value:10.4f}" for value in figures.values())


def read(path: Path) -> Scene:
    """One saved prediction."""
    with np.load(path) as file:
        return Scene(
            file["affinities"].astype(np.float32),
            [tuple(map(int, offset)) for offset in file["offsets"]],
            file["truth"],
            file["foreground"].astype(bool) if "foreground" in file else None,
        )


def main() -> None:
    """Print the table of the files that are given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--strides", nargs="+", type=int, default=[1])
    parser.add_argument("--thresholds", nargs="+", type=float, default=list(THRESHOLDS))
    parser.add_argument("--min-size", type=int, default=0)
    parser.add_argument("--per-slice", action="store_true")
    parser.add_argument("--sigma", type=float, default=0.0)
    parser.add_argument("--sharp", action="store_true", help="smooth seeds only, not boundaries")
    given = parser.parse_args()
    scenes = [read(path) for path in given.files]
    tried = candidates(
        strides=given.strides if len(given.strides) > 1 else given.strides[0],
        watershed={
            "per_slice": given.per_slice,
            "sigma": given.sigma,
            "smooth_boundary": not given.sharp,
        },
        thresholds=given.thresholds,
        min_size=given.min_size,
    )
    print(f"{'':<42}" + "".join(f"{name:>10}" for name in (*METRICS, "s")))
    for options, figures in compare(scenes, tried):
        print(describe_options(options, figures), flush=True)


if __name__ == "__main__":
    main()
