"""NumPy files (.npy), memory-mapped; never pickles."""

from __future__ import annotations

import numpy as np
from numpy.lib import format as npy_format

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import foreign
from unmask.io.contract import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    check_file,
    map_file,
    only_level,
    signature,
)


def open_npy(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header.

    Raises:
        DataError: an object array, or another length than the header claims.
    """
    del labels
    only_level(location, level)
    path = location.path
    mark = signature(path)
    with path.open("rb") as handle:
        version = npy_format.read_magic(handle)
        read_header = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(handle)
        offset = handle.tell()
    if dtype.hasobject:
        raise DataError(
            foreign.advice_message(location.source)
            or message(
                location.source,
                expected="an array of numbers",
                found="a pickled object array, which could run code",
                do="Save it with a numeric dtype.",
            )
        )
    count = int(np.prod(shape, dtype=object))
    needed = offset + count * dtype.itemsize
    if mark.size != needed:
        short = mark.size < needed
        raise DataError(
            message(
                location.source,
                expected=f"{needed} bytes for shape {shape}, {dtype}",
                found=f"{mark.size} bytes{' (truncated)' if short else ''}",
                do="Copy the file again." if short else "Save one array per file.",
            )
        )
    shelf = recent.make_opened_shelf()

    def mapped() -> np.ndarray:
        flat = np.frombuffer(map_file(location, mark), dtype, count, offset)
        return flat.reshape(shape, order="F" if fortran else "C")

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        part = shelf.get("map", mapped)[index]
        return part.astype(dtype.newbyteorder("="), order="C")

    return Stored(tuple(shape), dtype.newbyteorder("="), "?" * len(shape), read)


def save_npy(location: Location, content: Content) -> None:
    """Write the array; spacing and axes have no place in this format."""
    with atomic_path(location.path) as aside, aside.open("wb") as handle:
        np.save(handle, content.array, allow_pickle=False)


FORMAT = Format("NPY", open_npy, save_npy, family=".tif")
