"""Precomputed volumes for Neuroglancer: raw chunks in all resolutions, for any web server.

The format is described at https://github.com/google/neuroglancer (datasource/precomputed). A folder
holds ``info`` and one folder per resolution with a file for each chunk, x fastest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unmask.atomic import aside_name, make_folder, remove, replace_folder, saving
from unmask.errors import DataError, message
from unmask.io.contract import METERS
from unmask.io.image import Image
from unmask.io.pyramid import Level, plan_levels
from unmask.space.box import Box

_CHUNK = 64
# Types that Neuroglancer shows, by whether they are labels.
_LABELS, _IMAGES = ("uint8", "uint16", "uint32", "uint64"), ("uint8", "uint16", "uint32", "float32")
_NANOMETERS = 1e-9


def write_precomputed(image: Image, folder: str | Path, *, labels: bool) -> Path:
    """Write an image or labels of any size as a precomputed volume; planes get a depth of 1.

    Coarser levels are subsampled, not averaged, so that labels stay labels.

    Args:
        image: ``(C, *space)``; read in chunks.
        folder: output folder; an existing one is replaced at the end.
        labels: whether values are labels.

    Returns:
        The folder.

    Raises:
        DataError: the format does not support the data type, or the image is a movie.
        SaveError: the folder cannot be written.
    """
    if image.ndim not in (2, 3) or "T" in image.axes:
        raise DataError(
            message(
                image.source,
                expected="a plane or a volume",
                found=f"axes {image.axes}",
                do="The format has no time axis. Show movies with unmask view without --export, or "
                "predict into OME-Zarr, which Neuroglancer reads from a web server (zarr://).",
            )
        )
    volume = Precomputed(image, labels)
    path = Path(folder)
    aside = path.with_name(aside_name(path))
    with saving(path):
        remove(aside)
        make_folder(aside)
        (aside / "info").write_text(json.dumps(volume.info(), indent=1), encoding="utf-8")
        for key, level in volume.levels.items():
            make_folder(aside / key)
            for corner in product(*(range(0, n, _CHUNK) for n in level.shape)):
                ends = zip(corner, level.shape, strict=True)
                box = Box(corner, tuple(min(start + _CHUNK, n) for start, n in ends))
                (aside / key / _name(box)).write_bytes(volume.chunk(key, box))
        replace_folder(aside, path.absolute())
    return path


class _Resolution(NamedTuple):
    """Shape of a resolution, and the number of image voxels per voxel along every axis."""

    shape: tuple[int, ...]
    scale: tuple[int, ...]


@dataclass(frozen=True)
class Precomputed:
    """An image as the files of the format, which are made on request.

    Attributes:
        image: ``(C, *space)``.
        labels: whether values are labels.
    """

    image: Image
    labels: bool

    @cached_property
    def levels(self) -> dict[str, _Resolution]:
        """Resolutions by the name of their folder."""
        shape = self.image.shape[1:]
        ones, zeros = (1,) * len(shape), (0.0,) * len(shape)
        first = Level(shape, ones, self.image.spacing or (1.0,) * len(shape), zeros)
        found, scale = dict[str, _Resolution](), ones
        for level in plan_levels(first):
            scale = tuple(a * b for a, b in zip(scale, level.step or ones, strict=True))
            found["_".join(map(str, _deep(scale)[::-1]))] = _Resolution(level.shape, scale)
        return found

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the chunks."""
        return _dtype(self.image, labels=self.labels)

    def info(self) -> dict[str, Any]:
        """The file ``info``, as JSON values."""
        spacing = _nanometers(self.image)
        return {
            "@type": "neuroglancer_multiscale_volume",
            "type": "segmentation" if self.labels else "image",
            "data_type": self.dtype.name,
            "num_channels": 1 if self.labels else self.image.shape[0],
            "scales": [_scale(key, level, spacing) for key, level in self.levels.items()],
        }

    def chunk(self, key: str, box: Box) -> bytes:
        """A box of a resolution: x is fastest, then y, z and the channel."""
        level = self.levels[key]
        ends = zip(box.stop, level.scale, self.image.shape[1:], strict=True)
        fine = Box(
            tuple(a * s for a, s in zip(box.start, level.scale, strict=True)),
            tuple(min(b * s, n) for b, s, n in ends),
        )
        steps = (slice(None, None, step) for step in level.scale)
        part = self.image.read(fine)[(slice(None), *steps)]
        return part.astype(self.dtype.newbyteorder("<")).tobytes()

    def named_chunk(self, key: str, name: str) -> bytes:
        """The chunk of a file such as ``0-64_64-128_0-1``.

        Raises:
            KeyError: the resolution does not exist.
            ValueError: the chunk does not exist.
        """
        ranges = [tuple(map(int, part.split("-"))) for part in name.split("_")][::-1]
        ranges = ranges[3 - self.image.ndim :]
        level = self.levels[key]
        inside = len(ranges) == self.image.ndim and all(
            len(ends) == 2 and 0 <= ends[0] < ends[1] <= n and ends[1] - ends[0] <= _CHUNK
            for ends, n in zip(ranges, level.shape, strict=True)
        )
        if not inside:
            raise ValueError(name)
        return self.chunk(key, Box(tuple(r[0] for r in ranges), tuple(r[1] for r in ranges)))


def _dtype(image: Image, *, labels: bool) -> np.dtype[Any]:
    names = _LABELS if labels else _IMAGES
    known = [np.dtype(name) for name in names]
    fits = [each for each in known if np.can_cast(image.dtype, each)]
    if image.dtype == np.float64 and not labels:
        return np.dtype(np.float32)
    if not fits:
        raise DataError(
            message(
                image.source,
                expected=f"one of the types {', '.join(names)}",
                found=str(image.dtype),
                do="Convert it first.",
            )
        )
    return fits[0]


def _nanometers(image: Image) -> tuple[float, ...]:
    """Voxel size along z, y and x in nanometers; 1 if it is not known."""
    factor = METERS.get(image.unit or "", 0.0) / _NANOMETERS
    if image.spacing is None or not factor:
        return (1.0,) * 3
    sizes = tuple(size * factor for size in image.spacing)
    return (*(sizes[-1:] if len(sizes) == 2 else ()), *sizes)


def _deep(values: Sequence[int]) -> tuple[int, ...]:
    """Lengths of z, y and x."""
    return (*(1,) * (3 - len(values)), *values)


def _name(box: Box) -> str:
    ends = zip((*(0,) * (3 - len(box.start)), *box.start)[::-1], _deep(box.stop)[::-1], strict=True)
    return "_".join(f"{start}-{stop}" for start, stop in ends)


def _scale(key: str, level: _Resolution, spacing: Sequence[float]) -> dict[str, Any]:
    scale, shape = _deep(level.scale), _deep(level.shape)
    return {
        "key": key,
        "size": list(shape[::-1]),
        "resolution": [size * step for size, step in zip(spacing, scale, strict=True)][::-1],
        "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[min(_CHUNK, n) for n in shape[::-1]]],
        "encoding": "raw",
    }
