"""Organelles without labels: clusters of features against clusters of raw patches.

    python benchmarks/organelles.py SET [--model RUN] [--clusters 8 32] [--quality fast]
                                    [--compat aligned official] [--surround 8] [--side 512]
                                    [--name NAME]

SET is a folder with ``train`` and ``val``, each with ``images`` and ``labels_semantic`` (2D, 8
bit), such as ``axon_sem`` and ``vnc_sstem``. Baselines are k-means on raw 5 x 5 patches and on the
first 16 principal components of 15 x 15 patches. Centres are fitted to training images; clusters
are named on training images, by majority (``transferred``) and for the highest mean Dice
(``transferred_dice``), and scored on validation images. A row is the mean Dice over all classes,
the background included, beside that of raw patches named in the same way. ``--side`` takes the
middle square of every image, 0 all of it.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness import row, write
from unmask import api
from unmask.io import list_files, open_image, open_labels, save_image
from unmask.kmeans import assign, kmeans
from unmask.metrics.mapping import TRANSFERRED
from unmask.space.random import generator

_SAMPLE = 200_000
_DICE = re.compile(r"dice/\d+ (\w+)")
Describe = Callable[[np.ndarray], np.ndarray]


def middle(array: np.ndarray, side: int) -> np.ndarray:
    """The middle square of ``(y, x)``."""
    if side == 0:
        return array
    low = [max(0, (n - side) // 2) for n in array.shape]
    return array[tuple(slice(a, a + side) for a in low)]


def write_part(source: Path, out: Path, side: int) -> None:
    """Images and labels of a part, cut to their middles."""
    for kind, opened in (("images", open_image), ("labels_semantic", open_labels)):
        for path in list_files(source / kind):
            array = opened(path, ndim=2).read()[0]
            save_image(out / kind / f"{Path(path).stem}.tif", middle(array, side), axes="YX")


def patches(size: int) -> Describe:
    """Raw values around every pixel, ``(pixels, size ** 2)``."""

    def describe(image: np.ndarray) -> np.ndarray:
        wide = np.pad(image.astype(np.float32) / 255, size // 2, mode="reflect")
        return sliding_window_view(wide, (size, size)).reshape(-1, size * size)

    return describe


def sampled(images: Sequence[np.ndarray], describe: Describe) -> np.ndarray:
    rng = generator(0, "organelles")
    share = _SAMPLE // len(images)
    parts = [describe(image) for image in images]
    return np.concatenate([part[rng.choice(len(part), min(share, len(part)))] for part in parts])


def components(points: np.ndarray, count: int) -> np.ndarray:
    """First principal directions ``(d, count)``."""
    centred = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(directions[:, ::-1][:, :count])


def baseline(folder: Path, out: Path, clusters: int, size: int, count: int | None) -> None:
    """Cluster both parts by raw patches, or by ``count`` principal components of them."""
    images = {
        (part, Path(path).stem): open_image(path, ndim=2).read()[0]
        for part in ("train", "val")
        for path in list_files(folder / part / "images")
    }
    raw = patches(size)
    training = [image for (part, _), image in images.items() if part == "train"]
    points = sampled(training, raw)
    directions = None if count is None else components(points, count)
    points = points if directions is None else points @ directions
    centres = kmeans(points, clusters, seed=0, sample=None).centres
    for (part, name), image in images.items():
        vectors = raw(image) if directions is None else raw(image) @ directions
        labels = assign(vectors, centres)[0].reshape(image.shape) + 1
        save_image(out / part / f"{name}.tif", labels.astype(np.uint16), axes="YX")


def learnt(
    folder: Path,
    out: Path,
    given: argparse.Namespace,
    clusters: int,
    options: api.ClusterOptions,
) -> None:
    """Cluster both parts by the features of a model; centres are those of the training images."""
    images = folder / "train" / "images"
    done = api.cluster(
        given.model,
        images,
        out=out / "train",
        classes=clusters,
        options=options,
        settings=given.set,
    )
    options = replace(options, centres=done.centres)
    images = folder / "val" / "images"
    api.cluster(given.model, images, out=out / "val", options=options, settings=given.set)


def scored(folder: Path, out: Path) -> dict[str, list[float]]:
    """Dice of every class, by the name of the mapping."""
    report = api.evaluate_clusters(
        truth=folder / "val" / "labels_semantic",
        predicted=out / "val",
        fit_truth=folder / "train" / "labels_semantic",
        fit_predicted=out / "train",
        mappings=TRANSFERRED,
    )
    found: dict[str, list[float]] = {name: [] for name in TRANSFERRED}
    for name, value in sorted(report.images[0].items()):
        if matched := _DICE.fullmatch(name):
            found[matched[1]].append(float(value))
    return found


def asked(given: argparse.Namespace) -> dict[str, api.ClusterOptions]:
    """The ways to compute features, by name."""
    plain = api.ClusterOptions(quality=given.quality)
    found = {
        f"features, {given.quality}, {compat}": replace(plain, compat=compat)
        for compat in given.compat
    }
    if given.surround:
        name = f"features, {given.quality}, surround {given.surround:g}"
        found[name] = replace(plain, surround=given.surround)
    return found


def measured(folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each number of clusters and each way to describe a pixel."""
    rows: list[dict[str, Any]] = []
    for clusters in given.clusters:
        ways: dict[str, Callable[[Path], None]] = {
            "raw 5 x 5": lambda out, k=clusters: baseline(folder, out, k, 5, None),
            "PCA-16 of 15 x 15": lambda out, k=clusters: baseline(folder, out, k, 15, 16),
        }
        for name, options in asked(given).items() if given.model else ():
            ways[name] = lambda out, k=clusters, o=options: learnt(folder, out, given, k, o)
        raw: dict[str, float] = {}
        for number, (what, run) in enumerate(ways.items()):
            out = folder / f"run{clusters}-{number}"
            begin = time.process_time()
            run(out)
            seconds = time.process_time() - begin
            for mapping, dice in scored(folder, out).items():
                mean = float(np.mean(dice))
                raw.setdefault(mapping, mean)
                note = f"by class {' / '.join(f'{each:.2f}' for each in dice)}; {seconds:.0f} s"
                label = f"K {clusters}, {mapping}: {what}"
                rows.append(row(label, {"ours": mean, "peer": raw[mapping]}, unit="", note=note))
                rows[-1]["ratio"] = mean / raw[mapping]
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set_folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--clusters", type=int, nargs="+", default=[8])
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--compat", nargs="+", default=["aligned"])
    parser.add_argument("--surround", type=float, default=0.0)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--name", help="docs/results/NAME.json is written")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "val"):
            write_part(given.set_folder / part, folder / part, given.side)
        rows = measured(folder, given)
    if given.name:
        write(given.name, rows)


if __name__ == "__main__":
    main()
