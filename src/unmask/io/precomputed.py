"""Precomputed volumes of Neuroglancer: raw chunks in all resolutions, for any web server.

The format is described at https://github.com/google/neuroglancer (datasource/precomputed). A folder
holds ``info`` and one folder per resolution with a file for each chunk, x fastest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

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

    Coarser levels are thinned out, not averaged, so ids stay ids.

    Args:
        image: ``(C, *space)``; read in chunks.
        folder: new folder; an older one stays whole until the end.
        labels: values are ids.

    Returns:
        The folder.

    Raises:
        DataError: a type that the format does not hold, or a movie.
        SaveError: the folder cannot be written.
    """
    if image.ndim not in (2, 3) or "T" in image.axes:
        raise DataError(
            message(
                image.source,
                expected="a plane or a volume",
                found=f"axes {image.axes}",
                do="Export each point in time alone.",
            )
        )
    dtype = _dtype(image, labels=labels)
    spacing = _nanometers(image)
    found = _plan(image)
    path = Path(folder)
    aside = path.with_name(aside_name(path))
    with saving(path):
        remove(aside)
        make_folder(aside)
        info: dict[str, Any] = {
            "@type": "neuroglancer_multiscale_volume",
            "type": "segmentation" if labels else "image",
            "data_type": dtype.name,
            "num_channels": 1 if labels else image.shape[0],
            "scales": [_scale(level, step, spacing) for level, step in found],
        }
        (aside / "info").write_text(json.dumps(info, indent=1), encoding="utf-8")
        for level, step in found:
            _write_level(image, level, step, aside / _key(step), dtype)
        replace_folder(aside, path.absolute())
    return path


def _plan(image: Image) -> list[tuple[Level, tuple[int, ...]]]:
    """Resolutions, each with the voxels of the image that one of its voxels stands for."""
    shape = image.shape[1:]
    ones, zeros = (1.0,) * len(shape), (0.0,) * len(shape)
    levels = plan_levels(Level(shape, (1,) * len(shape), image.spacing or ones, zeros))
    found, scale = list[tuple[Level, tuple[int, ...]]](), (1,) * len(shape)
    for level in levels:
        scale = tuple(a * b for a, b in zip(scale, level.step or scale, strict=True))
        found.append((level, scale))
    return found


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
    """Voxel size of z, y and x in nanometers; of unknown size 1."""
    factor = METERS.get(image.unit or "", 0.0) / _NANOMETERS
    if image.spacing is None or not factor:
        return (1.0,) * 3
    sizes = tuple(size * factor for size in image.spacing)
    return (*(sizes[-1:] if len(sizes) == 2 else ()), *sizes)


def _deep(values: Sequence[int]) -> tuple[int, ...]:
    """Lengths of z, y and x."""
    return (*(1,) * (3 - len(values)), *values)


def _key(step: Sequence[int]) -> str:
    return "_".join(map(str, _deep(step)[::-1]))


def _scale(level: Level, step: Sequence[int], spacing: Sequence[float]) -> dict[str, Any]:
    scale, shape = _deep(step), _deep(level.shape)
    return {
        "key": _key(step),
        "size": list(shape[::-1]),
        "resolution": [size * step for size, step in zip(spacing, scale, strict=True)][::-1],
        "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[min(_CHUNK, n) for n in shape[::-1]]],
        "encoding": "raw",
    }


def _write_level(
    image: Image, level: Level, step: Sequence[int], folder: Path, dtype: np.dtype[Any]
) -> None:
    make_folder(folder)
    starts = [range(0, n, _CHUNK) for n in level.shape]
    for corner in product(*starts):
        stop = [min(a + _CHUNK, n) for a, n in zip(corner, level.shape, strict=True)]
        ends = zip(stop, step, image.shape[1:], strict=True)
        box = Box(
            tuple(a * s for a, s in zip(corner, step, strict=True)),
            tuple(min(b * s, n) for b, s, n in ends),
        )
        part = image.read(box)[(slice(None), *(slice(None, None, s) for s in step))]
        name = "_".join(
            f"{a}-{b}" for a, b in zip(_corner(corner)[::-1], _deep(stop)[::-1], strict=True)
        )
        (folder / name).write_bytes(part.astype(dtype.newbyteorder("<")).tobytes())


def _corner(start: Sequence[int]) -> tuple[int, ...]:
    return (*(0,) * (3 - len(start)), *start)
