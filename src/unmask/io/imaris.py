"""Imaris files (.ims), which are HDF5: levels, time points and channels as data sets.

The format: https://imaris.oxinst.com/support/imaris-file-format
"""

from __future__ import annotations

from functools import partial
from typing import Any

import h5py
import numpy as np

from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.chunked import reader
from unmask.io.contract import Format, Index, Location, Stored, file_error, unit_symbol
from unmask.io.hdf5_chunks import find_packed_chunks
from unmask.io.hdf5_links import find, find_sources

_MOST = 100_000


def open_imaris(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the sizes and the voxel size of one resolution level.

    Raises:
        DataError: damaged, no such level, channels or time points that are missing or of another
            size, or values in another file.
    """
    del labels
    shelf: recent.Shelf[h5py.File] = recent.make_opened_shelf()

    def opened() -> h5py.File:
        # Without locks, so that reading does not stop others, and read-only mounts work.
        return shelf.get_alone("file", lambda: h5py.File(location.path, "r", locking=False))

    if not h5py.is_hdf5(location.path):
        raise _refused(location, "an Imaris 5.5 file (HDF5)", "another format, or half a file")
    file = opened()
    levels = _count(location, file, "DataSet", "ResolutionLevel")
    if not 0 <= level < levels:
        raise _refused(location, f"a level from 0 to {levels - 1}", f"level={level}")
    root = f"DataSet/ResolutionLevel {level}"
    times = _count(location, file, root, "TimePoint")
    channels = _count(location, file, f"{root}/TimePoint 0", "Channel")
    keys = [[f"{root}/TimePoint {t}/Channel {c}" for c in range(channels)] for t in range(times)]
    size, stored = _size(location, file, keys[0][0])
    for key in (key for row in keys for key in row):
        if _size(location, file, key) != (size, stored):
            raise _refused(location, f"channels of {size}, {stored}", f"another in {key}")
    native = stored.newbyteorder("=")
    readers: dict[tuple[int, int], Any] = {}

    def read(index: Index) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in index], native)
        for row, time in enumerate(range(index[0].start, index[0].stop)):
            for column, channel in enumerate(range(index[1].start, index[1].stop)):
                if (time, channel) not in readers:
                    key = f"{keys[time][channel]}/Data"
                    readers[time, channel] = _reader(location, opened, key, native)
                out[row, column] = readers[time, channel](index[2:])
        return out

    spacing, unit = _spacing(location, file, size)
    names = tuple(
        _text(file, f"DataSetInfo/Channel {number}", "Name") for number in range(channels)
    )
    return Stored(
        (times, channels, *size),
        native,
        "TCzYX" if size[0] == 1 else "TCZYX",
        read,
        spacing,
        unit,
        meta={"channels": names} if any(names) else {},
    )


def _reader(location: Location, opened: Any, key: str, dtype: np.dtype[Any]) -> Any:
    dataset = find(location, opened(), key)
    chunks = find_packed_chunks(location, dataset, key, opened)
    if chunks is not None:
        return reader(
            chunks.chunks, dtype, lambda cell: chunks.load(cell).astype(dtype, copy=False)
        )

    def plain(index: Index) -> np.ndarray:
        return np.asarray(opened()[key][index]).astype(dtype, copy=False)

    return plain


def _count(location: Location, file: h5py.File, path: str, name: str) -> int:
    """How many groups ``name 0``, ``name 1`` ... there are without a gap."""
    group = find(location, file, path)
    found = set(group) if isinstance(group, h5py.Group) and len(group) < _MOST else set()
    count = 0
    while f"{name} {count}" in found:
        count += 1
    if count == 0 or any(
        other.startswith(f"{name} ") and other[len(name) + 1 :].isdigit()
        and int(other[len(name) + 1 :]) >= count for other in found
    ):  # fmt: skip
        raise _refused(location, f"{name} 0 and those after it in {path}", f"{len(found)} entries")
    return count


def _size(
    location: Location, file: h5py.File, key: str
) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """Lengths of z, y and x without the padding to whole chunks, and the type."""
    dataset = find(location, file, f"{key}/Data")
    if (
        not isinstance(dataset, h5py.Dataset)
        or dataset.ndim != 3
        or dataset.dtype.kind not in "uif"
    ):
        raise _refused(location, f"a volume {key}/Data", "none")
    if dataset.is_virtual or dataset.external:
        find_sources(location, file, dataset)
    if dataset.chunks:
        limits.check_unit(location.source, dataset.chunks, dataset.dtype.itemsize, name="chunk")
    stated = [_number(_text(file, key, f"ImageSize{axis}")) for axis in "ZYX"]
    if None in stated and any(size is not None for size in stated):
        raise _refused(location, f"ImageSizeX, ImageSizeY and ImageSizeZ of {key}", f"{stated}")
    lengths = tuple(
        n if size is None else int(size) for n, size in zip(dataset.shape, stated, strict=True)
    )
    if any(not 1 <= size <= n for size, n in zip(lengths, dataset.shape, strict=True)):
        raise _refused(location, f"a size inside {dataset.shape}", f"{lengths} in {key}")
    return (lengths[0], lengths[1], lengths[2]), dataset.dtype


def _spacing(
    location: Location, file: h5py.File, size: tuple[int, int, int]
) -> tuple[dict[str, float], str | None]:
    """Voxel size of the level from the extents of the image."""
    name = "DataSetInfo/Image"
    if not isinstance(find(location, file, name), h5py.Group):
        return {}, None
    sizes: dict[str, float] = {}
    for number, (axis, length) in enumerate(zip("XYZ", size[::-1], strict=True)):
        low, high = (_number(_text(file, name, f"Ext{end}{number}")) for end in ("Min", "Max"))
        if low is not None and high is not None and high > low:
            sizes[axis] = (high - low) / length
    unit = unit_symbol(_text(file, name, "Unit"))
    # Extents that are the number of voxels are what Imaris writes without a calibration.
    unknown = len(sizes) < 3 or (unit is None and set(sizes.values()) == {1.0})
    return ({}, None) if unknown else (sizes, unit)


def _text(file: h5py.File, path: str, name: str) -> str:
    """An attribute; Imaris stores text as an array of single characters."""
    group: Any = file.get(path)
    value = None if group is None else group.attrs.get(name)
    if value is None:
        return ""
    if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return b"".join(value.ravel().tolist()).decode("utf-8", "replace").strip("\0 ")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) else None


_refused = partial(file_error, do="Copy or export the file again.")


FORMAT = Format("Imaris", open_imaris, family=".tif")
