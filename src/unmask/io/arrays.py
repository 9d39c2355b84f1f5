"""Arrays of any library as stored images: numpy, dask, zarr, h5py, torch, PIL, xarray.

Lazy arrays (dask, zarr, h5py, xarray, tensorstore) stay lazy: a read fetches its box and no more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import Index, Stored

# Libraries whose arrays are indexed before they are converted.
_LAZY = ("dask", "zarr", "h5py", "xarray", "tensorstore")
# Lengths of a last axis that looks like channels, and how much longer the first axis is then.
_FEW, _RATIO = 10, 10
_LETTERS = {
    "t": "T", "time": "T", "c": "C", "ch": "C", "channel": "C", "channels": "C", "band": "C",
    "z": "Z", "plane": "Z", "pln": "Z", "slice": "Z", "depth": "Z",
    "y": "Y", "row": "Y", "x": "X", "col": "X", "column": "X", "s": "C", "rgb": "C",
}  # fmt: skip


def is_array(value: object) -> bool:
    """Whether a value holds voxels itself: it is not a path, and numpy can convert it."""
    if isinstance(value, type | str | bytes | os.PathLike):
        return False
    # A PIL image has no shape.
    return hasattr(value, "__array_interface__") or (
        hasattr(value, "__array__") and hasattr(value, "shape")
    )


def not_an_input(value: object, name: str = "images") -> str:
    """Message for what is neither a path nor an array."""
    kind = type(value)
    where = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return message(
        name,
        expected="a path, or an array such as numpy.ndarray, or a list of them",
        found=f"{where}{kind.__qualname__}",
        do="Give a path, or the array itself: numpy.asarray(x).",
    )


def stored_array(array: Any, *, name: str) -> Stored:
    """An array as a reader would hand it out, without axes unless it names them.

    Raises:
        DataError: not an array, or one that numpy cannot read.
    """
    if not is_array(array):
        raise DataError(not_an_input(array, name))
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise DataError(
            message(
                name,
                expected="an array without a mask",
                found="a masked array with masked values",
                do="Fill them first: array.filled(0).",
            )
        )
    if _library(array) not in _LAZY:
        return _in_memory(array, name)
    dtype = _dtype(array, name)
    shape = tuple(int(length) for length in array.shape)
    names = [str(dim).lower() for dim in getattr(array, "dims", ())]
    letters = [_LETTERS.get(dim, "?") for dim in names]
    known = len(letters) == len(shape) and "?" not in letters and len({*letters}) == len(letters)
    source = array.data if _library(array) == "xarray" else array

    def read(index: Index) -> np.ndarray:
        return np.asarray(source[index]).astype(dtype)

    return Stored(shape, dtype, "".join(letters) if known else "?" * len(shape), read)


def array_axes(shape: Sequence[int], ndim: int | None, *, name: str) -> str | None:
    """The axes of an array without names, where its shape says them; None: they are resolved as
    those of a file.

    Channels come first. A last axis of 3 or 4 after longer ones is color, and one of length 1 is a
    single channel.

    Raises:
        DataError: a last axis that looks like channels, of a number that says nothing.
    """
    if ndim is None or len(shape) != ndim + 1:
        return "CZYX" if ndim is None and len(shape) == 4 and shape[-1] not in (3, 4) else None
    space, first, last = "ZYX"[-ndim:], shape[0], shape[-1]
    if last == 1 and first != 1:
        return f"{space}C"
    if last in (3, 4) and first not in (1, 2, 3, 4):
        return f"{space}C"
    if first > 4 and (last == 2 or (1 < last <= _FEW and first > _RATIO * last)):
        raise DataError(
            message(
                name,
                expected=f"an array (channels, {', '.join(space.lower())}), or one that ends in 1, "
                "3 or 4 channels",
                found=f"shape {tuple(shape)}, whose last axis may be {last} channels",
                do=f'Say what the axes are: axes="{space}C", or axes="C{space}" where channels '
                "come first.",
            )
        )
    return f"C{space}"


def _library(array: object) -> str:
    return type(array).__module__.partition(".")[0]


def _in_memory(array: Any, name: str) -> Stored:
    # PIL says by its kind that rows come first and colors last.
    axes = "YXC" if _library(array) == "PIL" else ""
    array = _numpy(array, name)
    axes = axes[: array.ndim] or "?" * array.ndim
    dtype = array.dtype.newbyteorder("=")

    def read(index: Index) -> np.ndarray:
        return array[index].astype(dtype)

    return Stored(array.shape, dtype, axes, read)


def _numpy(array: Any, name: str) -> np.ndarray:
    # A tensor that needs gradients, or lies on a GPU, refuses the conversion.
    detach: Callable[[], Any] | None = getattr(array, "detach", None)
    try:
        return np.asarray(array if detach is None else detach().cpu())
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            message(
                name,
                expected="an array that numpy can read",
                found=f"{type(array).__module__}.{type(array).__qualname__} ({error})",
                do="Convert it first, to an array in the main memory of a type that numpy has.",
            )
        ) from error


def _dtype(array: Any, name: str) -> np.dtype[Any]:
    given = getattr(array.dtype, "numpy_dtype", array.dtype)
    try:
        return np.dtype(given).newbyteorder("=")
    except TypeError as error:
        raise DataError(
            message(
                name,
                expected="numbers",
                found=f"dtype {given}",
                do="Convert the array to a type that numpy has.",
            )
        ) from error
