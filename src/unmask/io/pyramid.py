"""OME-Zarr label images with coarser levels, made to be written block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, ZstdCodec

from unmask.io.zarr import create_zarr

# Levels are added until no axis is longer than this.
_COARSEST = 256
# Axes are halved together while their voxels differ by no more than this factor.
_ALIKE = 1.5


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes:
        shape: voxels.
        step: voxels of the level before that one voxel stands for, along every axis.
        scale: voxels of the finest level that one voxel stands for.
    """

    shape: tuple[int, ...]
    step: tuple[int, ...]
    scale: tuple[int, ...]


def levels(
    shape: Sequence[int], spacing: Sequence[float] | None, *, still: int = 0
) -> Iterator[Level]:
    """Resolutions from the finest on; long axes are halved until voxels are about cubes.

    Args:
        shape: voxels of the finest level.
        spacing: voxel size.
        still: number of first axes that are never halved, such as time.
    """
    size = tuple(shape)
    ones = (1,) * len(size)
    scale = ones
    yield Level(size, ones, scale)
    while max(size[still:]) > _COARSEST:
        voxel = [a * b for a, b in zip(scale, spacing or ones, strict=True)]
        long = [n > _COARSEST and axis >= still for axis, n in enumerate(size)]
        finest = min(v for v, halved in zip(voxel, long, strict=True) if halved)
        step = tuple(
            2 if halved and v <= _ALIKE * finest else 1
            for v, halved in zip(voxel, long, strict=True)
        )
        size = tuple(-(-n // s) for n, s in zip(size, step, strict=True))
        scale = tuple(a * s for a, s in zip(scale, step, strict=True))
        yield Level(size, step, scale)


def create_pyramid(
    path: Path,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    axes: str,
    chunks: Sequence[int],
    spacing: Sequence[float] | None,
    unit: str | None,
    provenance: Mapping[str, Any],
) -> list[Level]:
    """Make an empty OME-Zarr 0.5 label image with all its levels, ``path / "0"``, ``"1"``, ...

    Labels are thinned out, not averaged: voxel ``i`` of a level is voxel ``step * i`` of the one
    before, so both have the same origin.

    Args:
        path: folder of the image; must not exist or be empty.
        shape: voxels of the finest level.
        dtype: of the labels.
        axes: one letter per axis, such as "ZYX".
        chunks: shape of a chunk.
        spacing: voxel size.
        unit: short symbol.
        provenance: kept as the attribute ``unmask``.
    """
    first = create_zarr(path, shape, dtype, axes=axes, chunks=chunks, spacing=spacing, unit=unit)
    still = axes.count("T")
    if spacing is not None:
        spacing = (*(1.0,) * still, *spacing)
    found = list(levels(shape, spacing, still=still))
    group = zarr.open_group(path, mode="r+")
    for number, level in enumerate(found[1:], 1):
        group.create_array(
            str(number),
            shape=level.shape,
            dtype=first.dtype,
            chunks=tuple(min(a, b) for a, b in zip(chunks, level.shape, strict=True)),
            serializer=BytesCodec(endian="little"),
            compressors=[ZstdCodec(level=1, checksum=True)],
            dimension_names=list(axes.lower()),
        )
    described: Any = group.attrs.asdict()["ome"]
    described["image-label"] = {}
    described["multiscales"][0]["type"] = "nearest"
    described["multiscales"][0]["datasets"] = [
        {
            "path": str(number),
            "coordinateTransformations": [{"type": "scale", "scale": _scaled(level, spacing)}],
        }
        for number, level in enumerate(found)
    ]
    group.attrs.update({"ome": described, "unmask": dict(provenance)})
    return found


def _scaled(level: Level, spacing: Sequence[float] | None) -> list[float]:
    sizes = spacing or (1.0,) * len(level.scale)
    return [float(a * b) for a, b in zip(level.scale, sizes, strict=True)]
