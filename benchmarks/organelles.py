"""Organelles without labels: clusters of features against clusters of raw patches.

    python benchmarks/organelles.py SET [--model RUN] [--clusters 8] [--quality fast]
                                    [--compat aligned] [--side 512] [--out FILE.json]

SET is a folder with ``train`` and ``val``, each with ``images`` and ``labels_semantic`` (2D, 8
bit), such as ``axon_sem`` and ``vnc_sstem``. Baselines are k-means on raw 5 x 5 patches and on the
first 16 principal components of 15 x 15 patches. Centres are fitted to training images; clusters
are named by majority on training images (``transferred``) and scored on validation images, beside
the two oracles that look at these. ``--side`` takes the middle square of every image, 0 all of it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from unmask import api
from unmask.io import list_files, open_image, open_labels, save_image
from unmask.kmeans import assign, kmeans
from unmask.space.random import generator

_SAMPLE = 200_000
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


def learnt(folder: Path, out: Path, given: argparse.Namespace) -> None:
    """Cluster both parts by the features of a model; centres are those of the training images."""
    options = api.ClusterOptions(quality=given.quality, compat=given.compat)
    done = api.cluster(
        given.model,
        folder / "train" / "images",
        out=out / "train",
        classes=given.clusters,
        options=options,
        settings=given.set,
    )
    options = api.ClusterOptions(quality=given.quality, compat=given.compat, centres=done.centres)
    images = folder / "val" / "images"
    api.cluster(given.model, images, out=out / "val", options=options, settings=given.set)


def scored(folder: Path, out: Path) -> dict[str, float]:
    report = api.evaluate_clusters(
        truth=folder / "val" / "labels_semantic",
        predicted=out / "val",
        fit_truth=folder / "train" / "labels_semantic",
        fit_predicted=out / "train",
    )
    return {name: value for name, value in report.images[0].items() if name != "name"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set_folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--compat", default="aligned")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "val"):
            write_part(given.set_folder / part, folder / part, given.side)
        runs: dict[str, Callable[[Path], None]] = {
            "raw 5 x 5": lambda out: baseline(folder, out, given.clusters, 5, None),
            "PCA-16 of 15 x 15": lambda out: baseline(folder, out, given.clusters, 15, 16),
        }
        if given.model:
            label = f"{Path(given.model).name}, {given.quality}, {given.compat}"
            runs[label] = lambda out: learnt(folder, out, given)
        for number, (what, run) in enumerate(runs.items()):
            begin = time.perf_counter()
            run(folder / f"run{number}")
            results[what] = scored(folder, folder / f"run{number}")
            print(f"{what} ({time.perf_counter() - begin:.0f} s)")
            for key, value in results[what].items():
                if key.startswith("dice"):
                    print(f"  {key:32} {value:.3f}")
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
