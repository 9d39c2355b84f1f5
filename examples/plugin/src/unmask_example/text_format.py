"""Numbers in a text file, one line per row."""

import numpy as np

from unmask.errors import DataError
from unmask.io import Format, Stored


def open_text(location, *, level=0, labels=False):
    array = np.loadtxt(location.path, ndmin=2)
    height, width = array[0, :2].astype(int)
    if array[1:].shape != (height, width):
        raise DataError(f"{location.source}: expected {height} rows of {width} numbers.")
    array = array[1:].astype(np.uint8 if array[1:].max() < 256 else np.uint16)
    return Stored(array.shape, array.dtype, "YX", lambda index: array[index].copy())


def save_text(location, content):
    if content.array.ndim != 2 or content.array.dtype.kind not in "ui":
        raise DataError(f"{location.source}: expected whole numbers in a plane.")
    size = np.zeros((1, content.array.shape[1]), int)
    size[0, :2] = content.array.shape
    np.savetxt(location.path, np.concatenate([size, content.array]), "%d")


TEXT = Format("text", open_text, save_text, family=".grid", suffixes=(".grid",))
