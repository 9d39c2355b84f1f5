"""Segmentation without labels: k-means of dense features, streamed over volumes of any size.

Centres are fitted to vectors of places spread over all volumes; then every block is encoded and
each voxel gets the nearest centre. Vectors are never stored. After MAESTER (Xie et al., CVPR 2023,
pp. 3292-3301).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask import checkpoint
from unmask.data.normalize import Normalizer
from unmask.errors import CheckpointError, DataError, told
from unmask.infer.assembly import Result, assemble
from unmask.infer.blockfile import read_array, write_arrays
from unmask.infer.blocks import Grid
from unmask.infer.dispatch import scheduler
from unmask.infer.features import Dense
from unmask.infer.padded import Read, padded
from unmask.infer.source import ImageSource
from unmask.infer.tiled import Progress
from unmask.infer.units import kept, numbered
from unmask.infer.workplace import Plan, block_file, workplace
from unmask.io import Image
from unmask.kmeans import assign, kmeans
from unmask.space.box import Box
from unmask.space.random import generator

# Windows that vectors are taken from at least, as far as there are so many.
_PLACES = 64
_SAMPLE = 200_000
_KIND = "clusters"


@dataclass(frozen=True)
class Centres:
    """Cluster centres and the features that they are centres of.

    Attributes:
        values: ``(k, d)`` float32; label ``i + 1`` is row ``i``, the first has the most vectors.
        facts: what the features depend on: model, quality, compat, normalisation.
    """

    values: np.ndarray
    facts: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            SaveError: the file could not be written.
        """
        weights = {"centres": torch.from_numpy(self.values)}
        checkpoint.save_model(path, weights, {"kind": _KIND, "features": self.facts})

    @classmethod
    def load(cls, path: str | Path, facts: dict[str, Any]) -> Centres:
        """Read centres, for the features of ``facts`` only.

        Raises:
            CheckpointError: no such file, or centres of other features.
        """
        model = checkpoint.load_model(path)
        if model.card.get("kind") != _KIND:
            raise CheckpointError(
                told(
                    path,
                    expected="centres of `unmask cluster`",
                    found="another model file",
                    do="Give the clusters.safetensors of an earlier run.",
                )
            )
        theirs = model.card["features"]
        other = [
            f"{name} {theirs.get(name)!r}, not {value!r}"
            for name, value in facts.items()
            if theirs.get(name) != value
        ]
        if other:
            raise CheckpointError(
                told(
                    path,
                    expected="centres of the features asked for",
                    found="; ".join(other),
                    do="Give the model and options that the centres were made with.",
                )
            )
        return cls(model.weights["centres"].numpy(), theirs)


@dataclass(frozen=True)
class Volume:
    """An image with vectors.

    Attributes:
        image: the image.
        read: network input of any box, reflected beyond the image.
        inside: network input of boxes inside.
    """

    image: Image
    read: Read
    inside: Read

    @property
    def space(self) -> tuple[int, ...]:
        """Voxels."""
        return tuple(self.image.shape[1:])


@dataclass(frozen=True)
class Counts:
    """Of every cluster of one volume.

    Attributes:
        voxels: ``(k,)``.
        intensity: ``(k,)`` mean of the network's input, all channels; NaN where there is none.
    """

    voxels: np.ndarray
    intensity: np.ndarray


def prepare(dense: Dense, image: Image, *, channels: int, normalize: Normalizer) -> Volume:
    """Make an image ready for vectors; an image that cannot be read in parts is read whole.

    Raises:
        DataError: values that are not finite, channels or axes that do not fit; names the file.
    """
    image = kept(image)
    if image.ndim < dense.backbone.ndim:
        raise DataError(
            told(
                image.source,
                expected=f"at least {dense.backbone.ndim} spatial axes for this model",
                found=f"{image.ndim} (size {tuple(image.shape[1:])})",
                do="Use a model for them, or name the file's axes (--set data.axes=ZYX).",
            )
        )
    source = ImageSource(image, channels=channels, normalize=normalize)
    return Volume(image, padded(source.box, image.shape[1:], mode=dense.pad), source.box)


def fit(
    dense: Dense,
    volumes: Sequence[Volume],
    count: int,
    *,
    seed: int,
    facts: dict[str, Any],
    sample: int = _SAMPLE,
) -> Centres:
    """Centres of vectors from places spread over all volumes.

    Args:
        dense: gives vectors.
        volumes: where from; a larger one gives more.
        count: number of clusters.
        seed: of places and starts.
        facts: what is kept with the centres.
        sample: vectors in all, about.

    Raises:
        DataError: images of one value, or fewer distinct vectors than clusters.
    """
    points = sampled(dense, volumes, seed=seed, sample=sample)
    try:
        found = kmeans(points, count, seed=seed, sample=None)
    except DataError as error:
        names = ", ".join(volume.image.source for volume in volumes)
        raise DataError(f"{names}: {error}") from error
    order = np.argsort(-np.bincount(found.labels, minlength=count), kind="stable")
    return Centres(np.ascontiguousarray(found.centres[order]), facts)


def sampled(
    dense: Dense, volumes: Sequence[Volume], *, seed: int, sample: int = _SAMPLE
) -> np.ndarray:
    """Vectors ``(n, d)`` of windows drawn without repetition from those of all volumes.

    Raises:
        DataError: the network sees one value everywhere.
    """
    counts = [dense.windows(volume.space) for volume in volumes]
    voxels = sum(prod(volume.space) for volume in volumes)
    last = np.cumsum(counts)
    share = max(1.0, voxels / int(last[-1]))
    wanted = min(int(last[-1]), max(ceil(sample / share), _PLACES))
    rng = generator(seed, "cluster places")
    chosen = np.sort(rng.choice(int(last[-1]), wanted, replace=False, shuffle=False))
    seen = [np.inf, -np.inf]
    parts: list[np.ndarray] = []
    for volume, first, count in zip(volumes, last - counts, counts, strict=True):

        def watched(box: Box, read: Read = volume.read) -> np.ndarray:
            array = read(box)
            seen[:] = min(seen[0], array.min()), max(seen[1], array.max())
            return array

        numbers = chosen[(chosen >= first) & (chosen < first + count)] - first
        parts.append(dense.some(watched, volume.space, numbers))
    if seen[0] == seen[1]:
        raise DataError(
            told(
                ", ".join(volume.image.source for volume in volumes),
                expected="images with structure",
                found=f"the value {seen[0]:g} everywhere after normalisation",
                do="Give other images, or normalise them by their own values: "
                "--set data.normalize=percentile.",
            )
        )
    return np.concatenate(parts)


def label_volume(
    dense: Dense,
    centres: Centres,
    volume: Volume,
    out: Path,
    *,
    classes: np.ndarray | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Counts:
    """Write the label image of a volume, block by block; finished blocks outlive a kill.

    Args:
        dense: gives vectors.
        centres: of the clusters.
        volume: the image.
        out: label file.
        classes: ``(k,)`` label of each cluster; default 1 ... k.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (blocks done, blocks in all).

    Raises:
        CheckpointError: another run works on this output, or an ended one had other settings.
        SaveError: the disk is full; finished blocks are kept.
    """
    count = len(centres.values)
    classes = np.arange(1, count + 1) if classes is None else classes
    grid = Grid(volume.space, dense.block(volume.space), 0)
    plan = _plan(centres, volume, grid, classes)
    with workplace(out, plan, resume=resume) as (folder, finished):
        ready = set(finished)
        work = partial(_label_block, dense, centres.values, volume, grid, classes, folder)

        def done(number: int) -> None:
            ready.add(number)
            if progress is not None:
                progress(len(ready), len(grid))

        with scheduler(None) as run:
            run(work, [number for number in range(len(grid)) if number not in ready], done)
            dtype = np.min_scalar_type(int(classes.max()))
            result = Result(out.absolute(), grid, dtype, volume.image, plan.provenance)
            voxels, sums = (_total(folder, grid, name) for name in ("voxels", "sums"))
            assemble(result, folder, partial(numbered, folder), run)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Counts(voxels, sums / voxels)


def _label_block(
    dense: Dense,
    centres: np.ndarray,
    volume: Volume,
    grid: Grid,
    classes: np.ndarray,
    folder: Path,
    number: int,
) -> int:
    """Label one block and keep it with its counts."""
    box = grid.tile(number).write
    clusters = assign(_vectors(dense, volume, box), centres)[0]
    grey = volume.inside(box).mean(axis=0).ravel()
    labels = classes[clusters].reshape(box.shape)
    arrays = {
        "labels": labels.astype(np.min_scalar_type(int(classes.max()))),
        "voxels": np.bincount(clusters, minlength=len(centres)),
        "sums": np.bincount(clusters, grey, minlength=len(centres)),
    }
    write_arrays(block_file(folder, number), arrays, {"top": int(labels.max())})
    return number


def _total(folder: Path, grid: Grid, name: str) -> np.ndarray:
    """Sum of an array ``(k,)`` over all blocks."""
    parts = (read_array(block_file(folder, number), name) for number in range(len(grid)))
    return np.sum(list(parts), axis=0)


def _vectors(dense: Dense, volume: Volume, box: Box) -> np.ndarray:
    return dense.vectors(volume.read, volume.space, box).flatten(0, -2).cpu().numpy()


def _plan(centres: Centres, volume: Volume, grid: Grid, classes: np.ndarray) -> Plan:
    """What decides about the labels of every block."""
    path = Path(volume.image.source)
    state = path.stat() if path.is_file() else None
    facts = {
        "features": centres.facts,
        "centres": np.round(centres.values[:, :4].astype(float), 6).tolist(),
        "classes": classes.tolist(),
        "image": path.name,
        "file": None if state is None else [state.st_size, state.st_mtime_ns],
        "shape": list(volume.image.shape),
        "block": list(grid.block),
        "unmask": version("unmask"),
    }
    facts = json.loads(json.dumps(facts))
    return Plan(facts, facts, len(grid))
