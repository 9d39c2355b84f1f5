"""Cluster centers: k-means of dense features sampled from all volumes.

Features are never stored. After MAESTER (Xie et al., CVPR 2023, pp. 3292-3301); `assign` gives
every voxel the nearest center.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash

from unmask import checkpoint
from unmask.clustering.dense import Dense
from unmask.data.grid import AS_IT_IS, Place, View
from unmask.data.normalize import Measured, Normalizer
from unmask.data.source import ImageSource, hold_whole
from unmask.errors import CheckpointError, DataError, describe_error, message
from unmask.io import Image
from unmask.kmeans import kmeans
from unmask.progress import Progress
from unmask.space.box import Box
from unmask.space.pad import Read, pad_reads
from unmask.space.random import generator
from unmask.wording import format_count

# Fewest windows that features are sampled from, if the volumes have so many.
_FEWEST_WINDOWS = 64
_SAMPLE = 200_000
# Feature vectors that the mean of a volume is computed from.
_MEAN_SAMPLE = 8_000
_KIND = "clusters"
# Suffixes of centers as text.
_TEXT = (".txt", ".csv")
# Axes of a table of features, one row per cluster.
_TABLE = 2


@dataclass(frozen=True)
class Centers:
    """Cluster centers and the features that they are centers of.

    Attributes:
        values: ``(k, d)`` float32; label ``i + 1`` is row ``i``, the first has the most features.
        facts: what the features depend on: model, quality, compat, normalization.
    """

    values: np.ndarray
    facts: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest of all values."""
        values = np.ascontiguousarray(self.values)
        return xxhash.xxh3_128_hexdigest(
            f"{values.shape} {values.dtype}".encode() + values.tobytes()
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            SaveError: the file could not be written.
        """
        weights = {"centres": torch.from_numpy(self.values)}
        checkpoint.save_model(path, weights, {"kind": _KIND, "features": self.facts})

    @classmethod
    def load(cls, path: str | Path, facts: dict[str, Any]) -> Centers:
        """Read centers, for the features of ``facts`` only.

        A text file (``k6.txt`` of MAESTER) has one center per line and says nothing of its
        features; only their number is checked.

        Raises:
            CheckpointError: no such file, or centers of other features.
        """
        if Path(path).suffix.lower() in _TEXT:
            return cls(_read_text(Path(path), int(facts["dim"])), facts)
        model = checkpoint.load_model(path)
        theirs, values = model.card.get("features"), model.weights.get("centres")
        if (
            model.card.get("kind") != _KIND
            or not isinstance(theirs, dict)
            or values is None
            or values.ndim != _TABLE
            or not values.is_floating_point()
        ):
            raise CheckpointError(
                message(
                    path,
                    expected="centers of `unmask cluster`",
                    found="another model file",
                    do="Give the clusters.safetensors of an earlier run.",
                )
            )
        other = [
            f"{name} {theirs.get(name)!r}, not {facts.get(name)!r}"
            for name in facts | theirs
            if theirs.get(name) != facts.get(name)
        ]
        if other:
            raise CheckpointError(
                message(
                    path,
                    expected="centers of the features asked for",
                    found="; ".join(other),
                    do="Give the model and options that the centers were made with.",
                )
            )
        return cls(values.numpy(), theirs)


def _read_text(path: Path, dim: int) -> np.ndarray:
    """Read centers of ``dim`` features, one per line.

    Raises:
        CheckpointError: no such file, no numbers, or another number of features.
    """
    try:
        lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
        values = np.atleast_2d(np.loadtxt(lines, dtype=np.float64))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            message(
                path,
                expected="one center per line, as numbers",
                found=describe_error(error),
                do="Give k6.txt of MAESTER, or the clusters.safetensors of an earlier run.",
            )
        ) from error
    if values.shape[1] != dim or not len(values) or not np.isfinite(values).all():
        raise CheckpointError(
            message(
                path,
                expected=f"{dim} finite features per line, as this model and its options give",
                found=f"{values.shape[1]} in {format_count(len(values), 'line')}",
                do="Give the model that the centers were made with, without --neighborhood.",
            )
        )
    return values.astype(np.float32)


@dataclass(frozen=True)
class Volume:
    """An image with features.

    Attributes:
        image: the image as the network sees it, on its grid.
        read: network input of any box, reflected beyond the image.
        inside: network input of boxes inside.
        channels: that the network sees.
        measured: what brought the image to the network's range.
        mean: ``(d,)`` that is subtracted from all features; None: nothing, see ``subtract_mean``.
        file: the image as its file has it; None: ``image``.
        place: where ``image`` lies in ``file``; None: they are the same.
    """

    image: Image
    read: Read
    inside: Read
    channels: int
    measured: Measured
    mean: np.ndarray | None = None
    file: Image | None = None
    place: Place | None = None

    @property
    def original(self) -> Image:
        """The image as its file has it."""
        return self.image if self.file is None else self.file

    @property
    def space(self) -> tuple[int, ...]:
        """Voxels."""
        return tuple(self.image.shape[1:])


def prepare(
    dense: Dense, image: Image, *, channels: int, normalize: Normalizer, view: View = AS_IT_IS
) -> Volume:
    """Make an image ready for features; an image that cannot be read in parts is read whole.

    Args:
        dense: computes features.
        image: the image as its file has it.
        channels: that the network sees.
        normalize: measures the image.
        view: the part and the grid that the network sees. A voxel size of fewer axes than the image
            has is that of the last axes.

    Raises:
        DataError: values that are not finite, channels or axes that do not fit; names the file.
    """
    if image.ndim < dense.backbone.ndim:
        raise DataError(
            message(
                image.source,
                expected=f"at least {dense.backbone.ndim} spatial axes for this model",
                found=f"{image.ndim} (size {tuple(image.shape[1:])})",
                do="Use a model for them, or name the file's axes (--set data.axes=ZYX).",
            )
        )
    place = _with_planes(view, image).place(image)
    seen = hold_whole(place.seen(image))
    source = ImageSource(seen, channels=channels, normalize=normalize)
    read = pad_reads(source.box, seen.shape[1:], mode=dense.pad)
    volume = Volume(seen, read, source.box, channels, source.measured)
    return volume if place.still else replace(volume, file=image, place=place)


def _with_planes(view: View, image: Image) -> View:
    """The view of a network for planes, for a volume whose planes it sees one by one."""
    if view.spacing is None or image.spacing is None or len(view.spacing) >= image.ndim:
        return view
    return replace(view, spacing=(*image.spacing[: -len(view.spacing)], *view.spacing))


def subtract_mean(dense: Dense, volume: Volume) -> Volume:
    """The volume with the mean of its features, which is subtracted from them.

    Microscopes, stains and animals differ by about a constant, which would otherwise sort volumes
    and not what is in them. The mean is that of windows spread over the volume, the same ones each
    time.
    """
    count = dense.windows(volume.space)
    chosen = _choose_windows(count, prod(volume.space), _MEAN_SAMPLE, generator(0, "mean places"))
    features = dense.compute_windows(volume.read, volume.space, chosen)
    return replace(volume, mean=features.mean(axis=0, dtype=np.float64).astype(np.float32))


def fit(
    dense: Dense,
    volumes: Sequence[Volume],
    count: int,
    *,
    seed: int,
    facts: dict[str, Any],
    sample: int = _SAMPLE,
    progress: Progress | None = None,
) -> Centers:
    """Centers of features that are sampled from all volumes.

    Args:
        dense: computes features.
        volumes: images; a larger one gives more features.
        count: number of clusters.
        seed: of the sample and of the first centers.
        facts: what the features depend on; it is kept with the centers.
        sample: about the number of feature vectors.
        progress: called with (windows done, windows in all).

    Raises:
        DataError: images of one value, or fewer distinct feature vectors than clusters.
    """
    points = sample_features(dense, volumes, seed=seed, sample=sample, progress=progress)
    try:
        found = kmeans(points, count, seed=seed, sample=None)
    except DataError as error:
        names = ", ".join(volume.image.source for volume in volumes)
        raise DataError(f"{names}: {error}") from error
    order = np.argsort(-np.bincount(found.labels, minlength=count), kind="stable")
    return Centers(np.ascontiguousarray(found.centers[order]), facts)


def sample_features(
    dense: Dense,
    volumes: Sequence[Volume],
    *,
    seed: int,
    sample: int = _SAMPLE,
    progress: Progress | None = None,
) -> np.ndarray:
    """Features ``(n, d)`` of windows drawn without repetition from those of all volumes.

    ``progress`` is called with (windows done, windows in all).

    Raises:
        DataError: the network sees one value everywhere.
    """
    counts = [dense.windows(volume.space) for volume in volumes]
    voxels = sum(prod(volume.space) for volume in volumes)
    last = np.cumsum(counts)
    chosen = _choose_windows(int(last[-1]), voxels, sample, generator(seed, "cluster places"))
    seen = [np.inf, -np.inf]
    parts: list[np.ndarray] = []
    for volume, first, count in zip(volumes, last - counts, counts, strict=True):

        def read_and_watch(box: Box, read: Read = volume.read) -> np.ndarray:
            array = read(box)
            seen[:] = min(seen[0], array.min()), max(seen[1], array.max())
            return array

        numbers = chosen[(chosen >= first) & (chosen < first + count)] - first
        before = int(np.searchsorted(chosen, first))

        def show(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, len(chosen))

        features = dense.compute_windows(read_and_watch, volume.space, numbers, progress=show)
        parts.append(features if volume.mean is None else features - volume.mean)
    if seen[0] == seen[1]:
        raise DataError(
            message(
                ", ".join(volume.image.source for volume in volumes),
                expected="images with structure",
                found=f"the value {seen[0]:g} everywhere after normalization",
                do="Give other images, or normalize them by their own values: "
                "--set data.normalize=percentile.",
            )
        )
    return np.concatenate(parts)


def _choose_windows(windows: int, voxels: int, sample: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending numbers of windows that give about ``sample`` feature vectors."""
    share = max(1.0, voxels / windows)
    wanted = min(windows, max(ceil(sample / share), _FEWEST_WINDOWS))
    return np.sort(rng.choice(windows, wanted, replace=False, shuffle=False))
