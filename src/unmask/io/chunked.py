"""Arrays stored in chunks, for formats that can only decode whole chunks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable

import numpy as np

from unmask.io import cache as recent
from unmask.io.contract import Index

Cell = tuple[int, ...]


def reader(
    chunks: tuple[int, ...],
    dtype: np.dtype[np.generic],
    load: Callable[[Cell], np.ndarray],
    version: Callable[[Cell], Hashable] = lambda _: 0,
) -> Callable[[Index], np.ndarray]:
    """Read boxes out of chunks; decoded chunks are kept for the next read.

    Args:
        chunks: shape of a chunk.
        dtype: of the result.
        load: chunk by its place in the grid; one at the far edge may be cut or whole.
        version: changes when the stored chunk does, so that no old one is served.
    """
    shelf = recent.decoded()

    def read(index: Index) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in index], dtype)
        cells = [
            range(part.start // n, -(-part.stop // n))
            for part, n in zip(index, chunks, strict=True)
        ]
        for cell in itertools.product(*cells):
            here, there = [], []
            for position, part, n in zip(cell, index, chunks, strict=True):
                start = position * n
                low, high = max(part.start, start), min(part.stop, start + n)
                here.append(slice(low - part.start, high - part.start))
                there.append(slice(low - start, high - start))

            def made(cell: Cell = cell) -> np.ndarray:
                return load(cell)

            values = shelf.get((cell, version(cell)), made)
            out[tuple(here)] = values[tuple(there)]
        return out

    return read
