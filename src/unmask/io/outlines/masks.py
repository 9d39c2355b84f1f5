"""A folder with one mask per object, as in the 2018 Data Science Bowl.

Given is the folder of the masks, or the folder of an image with ``masks`` inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unmask.errors import DataError, message
from unmask.io.outlines.drawn import Drawing, Drawn
from unmask.io.outlines.fill import Filled
from unmask.io.paths import list_files
from unmask.io.reading import open_labels


def read_masks(path: Path) -> Drawing:
    """One object per file in natural order; every value but 0 is the object.

    Raises:
        DataError: no masks, or masks of different size.
    """
    folder = path / "masks" if (path / "masks").is_dir() else path
    files = list_files(folder)
    opened = [open_labels(file, ndim=2) for file in files]
    shape = opened[0].shape[1:]
    if other := [each for each in opened if each.shape[1:] != shape]:
        raise DataError(
            message(
                other[0].source,
                expected=f"the size of the other masks, {shape}",
                found=f"{other[0].shape[1:]}",
                do="Keep the masks of one image in a folder of their own.",
            )
        )
    return Drawing(list(_objects(files)), shape)


def _objects(files: list[str]) -> Iterator[Drawn]:
    for file in files:

        def paint(_: tuple[int, int], file: str = file) -> Filled:
            mask = open_labels(file, ndim=2).read()[0] > 0
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            if not len(rows):
                return Filled((0, 0), mask[:0, :0])
            inside = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            return Filled((int(rows[0]), int(columns[0])), inside)

        yield Drawn(Path(file).name, paint=paint)
