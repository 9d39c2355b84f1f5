"""Organelles without labels: clusters of features against clusters of raw patches.

    python benchmarks/organelles.py SET [--model RUN] [--clusters 8 32] [--quality exact fast]
                                    [--compat aligned official] [--neighborhood 8] [--rotations]
                                    [--common-mean] [--side 512] [--leave-out] [--name NAME]

SET is a folder with ``train`` and ``val``, each with ``images`` and ``labels_semantic`` (2D, 8
bit), such as ``axon_sem`` and ``vnc_sstem``. Baselines are k-means on raw 5 x 5 patches and on the
first 16 principal components of 15 x 15 patches. Centers are fitted to training images; clusters
are named on training images, by majority (``transferred``) and for the highest mean Dice
(``transferred_dice``), and scored on validation images. A row is the mean Dice over all classes,
the background included, next to that of raw patches named in the same way. ``--side`` takes the
middle square of every image, 0 all of it. ``--common-mean`` adds rows in which every image's
vectors, raw ones too, have the same mean. ``--leave-out`` takes the training images alone: in turn
those of each subject (the name up to its first ``_``) are validation, and a row is the mean.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
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


def subject(path: str | Path) -> str:
    """Whose image it is, by its name."""
    return Path(path).stem.partition("_")[0]


def write_part(source: Path, out: Path, side: int, subjects: Sequence[str] | None = None) -> None:
    """Images and labels of a part, or of some subjects in it, cut to their middles."""
    for kind, opened in (("images", open_image), ("labels_semantic", open_labels)):
        for path in list_files(source / kind):
            if subjects is not None and subject(path) not in subjects:
                continue
            array = opened(path, ndim=2).read()[0]
            save_image(out / kind / f"{Path(path).stem}.tif", middle(array, side), axes="YX")


def patches(size: int) -> Describe:
    """Raw values around every pixel, ``(pixels, size ** 2)``."""

    def describe(image: np.ndarray) -> np.ndarray:
        wide = np.pad(image.astype(np.float32) / 255, size // 2, mode="reflect")
        return sliding_window_view(wide, (size, size)).reshape(-1, size * size)

    return describe


def sample_features(images: Sequence[np.ndarray], describe: Describe) -> np.ndarray:
    rng = generator(0, "organelles")
    share = _SAMPLE // len(images)
    parts = [describe(image) for image in images]
    return np.concatenate([part[rng.choice(len(part), min(share, len(part)))] for part in parts])


def components(points: np.ndarray, count: int) -> np.ndarray:
    """First principal directions ``(d, count)``."""
    centered = points - points.mean(axis=0)
    _, directions = np.linalg.eigh(centered.T @ centered)
    return np.ascontiguousarray(directions[:, ::-1][:, :count])


def baseline(
    folder: Path, out: Path, clusters: int, size: int, count: int | None, *, common_mean: bool
) -> None:
    """Cluster both parts by raw patches, or by ``count`` principal components of them."""
    images = {
        (part, Path(path).stem): open_image(path, ndim=2).read()[0]
        for part in ("train", "val")
        for path in list_files(folder / part / "images")
    }
    whole = patches(size)

    def raw(image: np.ndarray) -> np.ndarray:
        found = whole(image)
        return found - found.mean(axis=0) if common_mean else found

    training = [image for (part, _), image in images.items() if part == "train"]
    points = sample_features(training, raw)
    directions = None if count is None else components(points, count)
    points = points if directions is None else points @ directions
    centers = kmeans(points, clusters, seed=0, sample=None).centers
    for (part, name), image in images.items():
        vectors = raw(image) if directions is None else raw(image) @ directions
        labels = assign(vectors, centers)[0].reshape(image.shape) + 1
        save_image(out / part / f"{name}.tif", labels.astype(np.uint16), axes="YX")


def cluster_images(
    folder: Path,
    out: Path,
    given: argparse.Namespace,
    clusters: int,
    options: api.ClusterOptions,
) -> None:
    """Cluster both parts by the features of a model; centers are those of the training images."""
    images = folder / "train" / "images"
    done = api.cluster(
        given.model,
        images,
        out=out / "train",
        classes=clusters,
        options=options,
        settings=given.set,
    )
    options = replace(options, centers=done.centers)
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
    found: dict[str, api.ClusterOptions] = {}
    for quality in given.quality:
        plain = api.ClusterOptions(quality=quality)
        for compat in given.compat:
            found[f"features, {quality}, {compat}"] = replace(plain, compat=compat)
        if given.rotations:
            found[f"features, {quality}, rotations"] = replace(plain, rotations=True)
        if given.neighborhood:
            name = f"features, {quality}, neighborhood {given.neighborhood:g}"
            found[name] = replace(plain, neighborhood=given.neighborhood)
    return found


def ways(
    folder: Path, given: argparse.Namespace, clusters: int
) -> dict[str, Callable[[Path], None]]:
    """What clusters both parts into a folder, by name; raw patches first."""
    found: dict[str, Callable[[Path], None]] = {}
    for common in (False, True) if given.common_mean else (False,):
        note = ", common mean" if common else ""
        for name, size, count in (("raw 5 x 5", 5, None), ("PCA-16 of 15 x 15", 15, 16)):
            found[name + note] = partial(
                baseline, folder, clusters=clusters, size=size, count=count, common_mean=common
            )
        for name, options in asked(given).items() if given.model else ():
            options = replace(options, common_mean=common)
            found[name + note] = partial(
                cluster_images, folder, given=given, clusters=clusters, options=options
            )
    return found


def measured(
    folders: Sequence[Path], given: argparse.Namespace, clusters: int
) -> list[dict[str, Any]]:
    """A row for each way to describe a pixel and each mapping: means over the folders."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    seconds: dict[str, float] = {}
    for folder in folders:
        for number, (what, run) in enumerate(ways(folder, given, clusters).items()):
            out = folder / f"run{clusters}-{number}"
            begin = time.process_time()
            run(out)
            seconds[what] = seconds.get(what, 0.0) + time.process_time() - begin
            for mapping, dice in scored(folder, out).items():
                found.setdefault((what, mapping), []).append(dice)
                print(folder.name, clusters, what, mapping, dice, flush=True)
    rows: list[dict[str, Any]] = []
    raw: dict[str, float] = {}
    for (what, mapping), dices in found.items():
        means = np.mean(dices, axis=0)
        mean = float(means.mean())
        raw.setdefault(mapping, mean)
        note = f"by class {' / '.join(f'{each:.2f}' for each in means)}; {seconds[what]:.0f} s"
        label = f"K {clusters}, {mapping}: {what}"
        rows.append(row(label, {"ours": mean, "peer": raw[mapping]}, unit="", note=note))
        rows[-1]["ratio"] = mean / raw[mapping]
    return rows


def prepared(folder: Path, given: argparse.Namespace) -> list[Path]:
    """Folders with the parts ``train`` and ``val``."""
    source = given.set_folder
    if not given.leave_out:
        for part in ("train", "val"):
            write_part(source / part, folder / part, given.side)
        return [folder]
    everyone = sorted({subject(path) for path in list_files(source / "train" / "images")})
    for one in everyone:
        others = [other for other in everyone if other != one]
        write_part(source / "train", folder / one / "train", given.side, others)
        write_part(source / "train", folder / one / "val", given.side, [one])
    return [folder / one for one in everyone]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("set_folder", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--clusters", type=int, nargs="+", default=[8])
    parser.add_argument("--quality", nargs="+", default=["fast"])
    parser.add_argument("--compat", nargs="+", default=["aligned"])
    parser.add_argument("--neighborhood", type=float, default=0.0)
    parser.add_argument("--rotations", action="store_true")
    parser.add_argument("--common-mean", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--name", help="docs/results/NAME.json is written")
    parser.add_argument("--set", action="append", default=[])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = prepared(Path(name), given)
        rows = [each for clusters in given.clusters for each in measured(folders, given, clusters)]
    if given.name:
        write(given.name, rows)


if __name__ == "__main__":
    main()
