"""N5 containers of Java programs (BigDataViewer, Paintera), read by box.

``data.n5/volumes/raw`` is an array inside a container; a group with the arrays ``s0``, ``s1`` ...
is an image with levels. zarr-python 3 does not read N5, and tensorstore unpacks blocks without a
bound; a block is a short header and packed values. The format: https://github.com/saalfeldlab/n5
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import limits
from unmask.io.chunked import Cell, reader
from unmask.io.contract import Format, Location, Stored, file_error
from unmask.io.outside import check_inside
from unmask.io.unpack import (
    DAMAGED,
    Decoder,
    copy_bytes,
    decode_blosc,
    decode_bz2,
    decode_lzma,
    decode_zstd,
    inflate_gzip,
    inflate_zlib,
    packed_limit,
)
from unmask.io.voxel_attributes import read_voxels
from unmask.io.zarr_chunks import LocalFiles

_ATTRIBUTES = "attributes.json"
_MOST_METADATA = 10 * 2**20
_MOST_AXES, _MOST_GROUPS, _DEEPEST = 6, 2000, 5
_TYPES = tuple(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64))
_DECODERS: dict[str, Decoder] = {
    "raw": copy_bytes, "gzip": inflate_gzip, "zlib": inflate_zlib, "bzip2": decode_bz2,
    "xz": decode_lzma, "blosc": decode_blosc, "zstd": decode_zstd,
}  # fmt: skip
_LEVEL = re.compile(r"s(\d+)")
_SHOWN = 8


@dataclass(frozen=True)
class _Array:
    """An array of a container; lengths are slow axis first."""

    files: LocalFiles
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    stored: np.dtype[Any]
    decode: Decoder

    def key(self, cell: Cell) -> str:
        """Path of a block, whose numbers are fast axis first."""
        return "/".join(map(str, reversed(cell)))

    def load(self, cell: Cell) -> np.ndarray:
        """A decoded block; those at the far edge may be cut.

        Raises:
            ValueError: it is damaged.
        """
        key, room = self.key(cell), prod(self.blocks) * self.stored.itemsize
        data = self.files.read(key, packed_limit(room) + 1024)
        if data is None:
            return np.zeros(self.blocks, self.stored.newbyteorder("="))
        try:
            return self._decode(data, cell)
        except DAMAGED as error:
            raise ValueError(f"block {key}: {error}") from error

    def _decode(self, data: bytes, cell: Cell) -> np.ndarray:
        mode, count = struct.unpack_from(">HH", data)
        if mode != 0 or count != len(self.shape):
            raise ValueError(f"mode {mode} with {count} axes")
        lengths = struct.unpack_from(f">{count}I", data, 4)[::-1]
        edges = zip(cell, self.blocks, self.shape, strict=True)
        least = [min(step, n - number * step) for number, step, n in edges]
        if any(not a <= n <= b for a, n, b in zip(least, lengths, self.blocks, strict=True)):
            raise ValueError(f"a size of {lengths} instead of {self.blocks}")
        nbytes = prod(lengths) * self.stored.itemsize
        plain = self.decode(data[4 + 4 * count :], nbytes)
        if len(plain) != nbytes:
            raise ValueError(f"{len(plain)} bytes instead of {nbytes}")
        values = np.frombuffer(plain, self.stored).reshape(lengths)
        return values.astype(self.stored.newbyteorder("="))


def open_n5(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the array of a resolution level and read its attributes.

    Raises:
        DataError: no array there, several, no such level, damaged attributes, a compression that is
            not supported, or links out of the container.
    """
    del labels
    folders = _find(location)
    if not 0 <= level < len(folders):
        raise _refused(location, f"a level from 0 to {len(folders) - 1}", f"level={level}")
    folder = folders[level]
    attributes = _attributes(location, folder)
    array = _array(location, folder, attributes)
    axes = "?" * len(array.shape)
    spacing, unit, notes = _spacing(location, folder, attributes, len(array.shape))
    if len(spacing) == len(array.shape):
        axes = "ZYX"[-len(array.shape) :]
    return Stored(
        array.shape,
        array.stored.newbyteorder("="),
        axes,
        reader(
            array.blocks,
            array.stored.newbyteorder("="),
            array.load,
            lambda cell: array.files.version(array.key(cell)),
        ),
        spacing,
        unit if spacing else None,
        meta={"notes": notes} if notes else {},
    )


def _array(location: Location, folder: Path, attributes: Mapping[str, Any]) -> _Array:
    shape, blocks = (_lengths(location, attributes, name) for name in ("dimensions", "blockSize"))
    kind = attributes.get("dataType")
    if kind not in (*_TYPES, "float32", "float64"):
        raise _refused(location, "numbers", f"dataType {kind!r}")
    if len(shape) != len(blocks) or len(shape) > _MOST_AXES:
        raise _refused(location, f"blocks of {len(shape)} axes", f"{blocks}")
    stored = np.dtype(kind).newbyteorder(">")
    limits.check_unit(location.source, blocks, stored.itemsize, name="block")
    packing = attributes.get("compression", attributes.get("compressionType", "raw"))
    options = packing if isinstance(packing, Mapping) else {"type": packing}
    name = "zlib" if options.get("useZlib") is True else options.get("type")
    if name not in _DECODERS:
        raise _refused(location, f"one of {', '.join(_DECODERS)}", f"the compression {name!r}")
    array = _Array(LocalFiles(location, folder), shape, blocks, stored, _DECODERS[name])
    _check_shape(location, folder, array)
    return array


def _check_shape(location: Location, folder: Path, array: _Array) -> None:
    """Refuse a shape that is smaller than what was written."""
    for axis in range(len(array.shape)):
        cell = [0] * len(array.shape)
        cell[axis] = ceil(array.shape[axis] / array.blocks[axis])
        if (folder / array.key(tuple(cell))).is_file():
            raise _refused(
                location, f"no blocks beyond the shape {array.shape}", array.key(tuple(cell))
            )


def _find(location: Location) -> list[Path]:
    """The arrays of the image, finest level first."""
    root = location.path / location.key
    check_inside(location, root)
    if not root.is_dir():
        raise _refused(location, f"an array at {location.key}", "none")
    found = list(_images(location, root))
    if len(found) == 1:
        return found[0]
    names = [folders[0].relative_to(location.path).as_posix() for folders in found[:_SHOWN]]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise DataError(
        message(
            location.source,
            expected="one array",
            found=f"{len(found)}: {', '.join(names)}{more}" if found else "none",
            do=f"Give the path of one, for example {location.path}/{names[0]}."
            if found
            else f"Give a container with {_ATTRIBUTES} and blocks.",
        )
    )


def _images(location: Location, root: Path) -> Iterator[list[Path]]:
    """Arrays below a group, and the levels of images with several."""
    todo, count = [(root, 0)], 0
    while todo:
        folder, depth = todo.pop()
        count += 1
        if count > _MOST_GROUPS:
            raise _refused(location, "an array near the top", f"{_MOST_GROUPS} groups")
        if "dimensions" in _attributes(location, folder):
            yield [folder]
            continue
        inner = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        levels = {int(m[1]): e for e in inner if (m := _LEVEL.fullmatch(e.name))}
        if 0 in levels and all(
            "dimensions" in _attributes(location, entry) for entry in levels.values()
        ):
            yield [levels[number] for number in sorted(levels)]
        elif depth < _DEEPEST:
            todo += [(entry, depth + 1) for entry in reversed(inner)]


def _attributes(location: Location, folder: Path) -> dict[str, Any]:
    """Attributes of a group; none if it has no file of them."""
    file = folder / _ATTRIBUTES
    if not file.is_file():
        return {}
    check_inside(location, file)
    if file.stat().st_size > _MOST_METADATA:
        raise _refused(location, "attributes of at most 10 MiB", f"{file.stat().st_size} bytes")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refused(location, "attributes that are JSON", f"{error}") from error
    if not isinstance(content, dict):
        raise _refused(location, "attributes by name", f"a {type(content).__name__}")
    return content


def _lengths(location: Location, attributes: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = attributes.get(name)
    good = isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 < n < 2**50 for n in value
    )
    if not good or not value:
        raise _refused(location, f"lengths after {name!r}", f"{value}"[:100])
    return tuple(value)[::-1]


def _spacing(
    location: Location, folder: Path, attributes: Mapping[str, Any], count: int
) -> tuple[Mapping[str, float], str | None, tuple[str, ...]]:
    """Voxel size of an array, from its attributes or those of the group around it."""
    voxels, own = read_voxels(attributes, "?" * count), attributes
    factor = {}
    if not voxels.spacing and folder != location.path:
        own = _attributes(location, folder.parent)
        voxels = read_voxels(own, "?" * count)
        steps = attributes.get("downsamplingFactors", [1] * count)
        if isinstance(steps, list) and all(isinstance(n, (int, float)) for n in steps):
            factor = dict(zip("XYZ", steps, strict=False))
    sizes = {axis: size * factor.get(axis, 1) for axis, size in voxels.spacing.items()}
    notes: tuple[str, ...] = ()
    if "resolution" in own and len({*sizes.values()}) > 1:
        # Python programs write z first, Java programs x first.
        notes = (
            f"{location.source}: its voxel size {own['resolution']} is read as z, y, x; if it is "
            "x, y, z, write it as pixelResolution.",
        )
    return sizes, voxels.unit, notes


_refused = partial(file_error, do="Copy the container again, or convert it to OME-Zarr.")


FORMAT = Format("N5", open_n5, folder=True, family=".ome.zarr")
