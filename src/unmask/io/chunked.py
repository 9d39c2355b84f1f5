"""Arrays stored in chunks, for formats that can only decode whole chunks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import product

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
    shelf = recent.make_decoded_shelf()
    find, keep = shelf.find, shelf.keep

    def read(index: Index) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in index], dtype)
        spans = list(map(_spans, index, chunks))
        # Three products side by side: taking the parts of one product apart takes longer than the
        # copy of a small chunk.
        cells, here, there = [product(*axes) for axes in zip(*spans, strict=True)]
        for cell, target, source in zip(cells, here, there, strict=True):
            mark = version(cell)
            values = find(cell, mark)
            out[target] = (keep(cell, load(cell), mark) if values is None else values)[source]
        return out

    return read


def _spans(part: slice, length: int) -> tuple[range, list[slice], list[slice]]:
    """Along one axis all chunks, their places in the result, and the parts of the chunks."""
    low = first = part.start
    cells = range(first // length, -(-part.stop // length))
    here: list[slice] = []
    there: list[slice] = []
    for cell in cells:
        start = cell * length
        high = start + length
        if high > part.stop:
            high = part.stop
        here.append(slice(low - first, high - first))
        there.append(slice(low - start, high - start))
        low = high
    return cells, here, there
