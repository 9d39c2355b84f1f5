"""When two inputs are the same image: links, other spellings of a path, arrays of one memory."""

from __future__ import annotations

import os

import numpy as np

from unmask.data.drawn import DrawnLabels
from unmask.io import Image
from unmask.io.inputs import ArrayInput
from unmask.io.multi_file import files_of
from unmask.io.paths import locate
from unmask.io.remote import is_remote


def identities(given: str | ArrayInput | DrawnLabels) -> frozenset[object]:
    """What two inputs have in common if they lead to the same voxels; links count as their file.

    Of a container the array inside it counts as well, of an array its memory.
    """
    if not isinstance(given, ArrayInput):
        return frozenset(_identity(file) for file in files_of(str(given)))
    data = given.data
    if isinstance(data, Image) and locate(data.source).path.exists():
        return frozenset(_identity(file) for file in files_of(data.source))
    if isinstance(data, np.ndarray):
        return frozenset({(data.ctypes.data, data.shape, data.strides)})
    return frozenset({id(data)})


def _identity(file: str) -> object:
    if is_remote(file):
        return file
    location = locate(file)
    try:
        state = os.stat(location.path)  # noqa: PTH116 - follows links, unlike entries of a folder
    except (OSError, ValueError):
        return file
    # Some file systems give no numbers to files.
    place = (state.st_dev, state.st_ino) if state.st_ino else os.path.realpath(location.path)
    return place, location.key
