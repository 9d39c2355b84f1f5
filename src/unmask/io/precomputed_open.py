"""Precomputed volumes of Neuroglancer, read by box with tensorstore (extra ``precomputed``).

A folder holds ``info`` and a folder of chunks per level. `unmask.io.precomputed` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unmask.io import limits
from unmask.io.contract import Format, Index, Location, Stored, file_error
from unmask.io.outside import check_inside
from unmask.io.unpack import packed_limit
from unmask.lookup import optional_import

if TYPE_CHECKING:
    from unmask.io.precomputed_shards import Shards

SUFFIX = ".precomputed"
_INFO = "info"
_MOST = 10 * 2**20
_TYPE = "neuroglancer_multiscale_volume"
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32")
_CACHE = 64 * 2**20
# Tables make an encoded segmentation of noise this much larger than its values.
_GROWTH = 4


def is_precomputed(folder: Path) -> bool:
    """Whether a folder is a precomputed volume."""
    file = folder / _INFO
    try:
        if not file.is_file() or file.stat().st_size > _MOST:
            return False
        start = file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return _TYPE in start or ('"scales"' in start and '"data_type"' in start)


def open_precomputed(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the file ``info``.

    Raises:
        DataError: damaged, no such level, chunks too large for memory, or a level outside of the
            folder.
        MissingPackageError: tensorstore is not installed.
    """
    del labels
    library: Any = optional_import("tensorstore", "precomputed")
    folder = location.path / location.key
    info = _info(location, folder)
    scales = info.get("scales")
    if not isinstance(scales, list) or not scales or not all(isinstance(s, dict) for s in scales):
        raise _refused(location, "a list of scales", f"{scales}"[:80])
    if not 0 <= level < len(scales):
        raise _refused(location, f"a level from 0 to {len(scales) - 1}", f"level={level}")
    scale = scales[level]
    shape, offset = _numbers(location, scale, "size"), _offset(location, scale)
    kind, channels = info.get("data_type"), info.get("num_channels")
    if kind not in _TYPES or not isinstance(channels, int) or not 1 <= channels <= 1 << 16:
        raise _refused(location, "numbers in channels", f"{channels} channels of {kind!r}")
    dtype = np.dtype(kind)
    for chunk in scale.get("chunk_sizes") or [None]:
        sizes = _numbers(location, {"chunk_sizes": chunk}, "chunk_sizes")
        limits.check_unit(location.source, (channels, *sizes), dtype.itemsize, name="chunk")
    chunks = folder / str(scale.get("key", ""))
    check_inside(location, chunks)
    store = _open(library, location, folder, level)
    if tuple(store.shape) != (*shape, channels):
        raise _refused(location, f"an array of {shape}", f"{tuple(store.shape)}")
    spacing = [float(size) for size in _numbers(location, scale, "resolution", whole=False)]
    origin = [a * size for a, size in zip(offset, spacing, strict=True)]
    edges = tuple(store.chunk_layout.read_chunk.shape[:3])
    limit = packed_limit(_GROWTH * prod(edges) * channels * dtype.itemsize)
    check = _checker(location, chunks, scale, shape, edges, limit)

    def read(index: Index) -> np.ndarray:
        c, *space = index
        low = [part.start + a for part, a in zip(space[::-1], offset, strict=True)]
        high = [part.stop + a for part, a in zip(space[::-1], offset, strict=True)]
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        check(index[:0:-1])
        values = store[(*box, slice(c.start, c.stop))].read().result()
        return np.ascontiguousarray(np.asarray(values).T.astype(dtype, copy=False))

    deep = shape[2] > 1
    return Stored(
        (channels, *shape[::-1]),
        dtype,
        f"{'C' if channels > 1 else 'c'}{'Z' if deep else 'z'}YX",
        read,
        dict(zip("XYZ", spacing, strict=True)),
        "nm",
        meta={"origin": dict(zip("XYZ", origin, strict=True))} if any(origin) else {},
    )


def _checker(
    location: Location,
    folder: Path,
    scale: Mapping[str, Any],
    shape: tuple[int, ...],
    edges: tuple[int, ...],
    limit: int,
) -> Callable[[Index], None]:
    """Function that refuses a box of which a chunk has more bytes than ``limit``.

    Args:
        location: of the volume.
        folder: of the chunks.
        scale: the entry of the resolution in the file ``info``.
        shape: of the resolution, x first.
        edges: of a chunk.
        limit: bytes.
    """
    offset = _offset(location, scale)
    if (sharding := scale.get("sharding")) is not None:
        # Every command imports this file to know a volume; shards bring zarr-python with them.
        from unmask.io.precomputed_shards import shards_of

        grid = tuple(-(-n // edge) for n, edge in zip(shape, edges, strict=True))
        shards = shards_of(location, folder, grid, limit, sharding)
        return lambda space: _check_shards(location, shards, space, edges)

    def check(space: Index) -> None:
        for name in _chunk_names(space, shape, offset, edges):
            _check_size(location, folder / name, limit)

    return check


def _chunk_names(
    space: Index, shape: tuple[int, ...], offset: tuple[int, ...], edges: tuple[int, ...]
) -> Iterator[str]:
    """Files of the chunks that a box touches; all axes are x, y, z."""
    along = [
        [
            f"{start + a}-{min(start + edge, n) + a}"
            for start in range(part.start // edge * edge, part.stop, edge)
        ]
        for part, n, a, edge in zip(space, shape, offset, edges, strict=True)
    ]
    return ("_".join(words) for words in product(*along))


def _check_size(location: Location, file: Path, limit: int) -> None:
    """Refuse a chunk that the library would read into memory before it sees that it is too long."""
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return
    if size > limit:
        raise _refused(location, f"chunks of at most {limit} bytes", f"{file.name} of {size} bytes")


def _check_shards(location: Location, shards: Shards, space: Index, edges: tuple[int, ...]) -> None:
    """Refuse chunks of a box in shards that would unpack to more than a chunk can have."""
    along = [
        range(part.start // edge, -(-part.stop // edge))
        for part, edge in zip(space, edges, strict=True)
    ]
    for cell in product(*along):
        try:
            shards.check(cell)
        except ValueError as error:
            raise _refused(location, "chunks of the size in info", f"{error}") from error


def _open(library: Any, location: Location, folder: Path, level: int) -> Any:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(folder.absolute())},
        "scale_index": level,
        "context": {"cache_pool": {"total_bytes_limit": _CACHE}},
    }
    try:
        return library.open(spec, open=True, read=True).result()
    except Exception as error:
        # The library has no common class of errors, and long ones.
        reason = " ".join(str(error).split("[")[0].split())[:200]
        raise _refused(location, "a precomputed volume", reason) from error


def _info(location: Location, folder: Path) -> Mapping[str, Any]:
    file = folder / _INFO
    check_inside(location, file)
    if not file.is_file() or file.stat().st_size > _MOST:
        raise _refused(location, "a file info of at most 10 MiB", "none")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refused(location, "a file info that is JSON", f"{error}") from error
    if not isinstance(content, dict):
        raise _refused(location, "entries in the file info", type(content).__name__)
    return content


def _numbers(
    location: Location, scale: Mapping[str, Any], name: str, *, whole: bool = True
) -> tuple[int, int, int]:
    value = scale.get(name)
    kinds = int if whole else (int, float)
    good = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(n, kinds) and not isinstance(n, bool) and 0 < n < 2**50 for n in value)
    )
    if not good or value is None:
        raise _refused(location, f"three numbers {name}", f"{value}"[:80])
    return (value[0], value[1], value[2])


def _offset(location: Location, scale: Mapping[str, Any]) -> tuple[int, ...]:
    value = scale.get("voxel_offset", [0, 0, 0])
    good = (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(n, int) and abs(n) < 2**50 for n in value)
    )
    if not good:
        raise _refused(location, "three numbers voxel_offset", f"{value}"[:80])
    return tuple(value)


_refused = partial(file_error, do="Copy the folder again.")


FORMAT = Format("Neuroglancer precomputed", open_precomputed, folder=True, family=".ome.zarr")
