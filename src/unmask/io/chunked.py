"""Arrays stored in chunks, for formats that can only decode whole chunks."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
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

    def read(index: Index) -> np.ndarray:
        out = np.empty([part.stop - part.start for part in index], dtype)
        spans = [_spans(part, n) for part, n in zip(index, chunks, strict=True)]
        # Three products side by side: taking the parts of one product apart takes longer than the
        # copy of a small chunk.
        cells, here, there = (product(*axes) for axes in zip(*spans, strict=True))
        for cell, target, source in zip(cells, here, there, strict=True):
            out[target] = shelf.get((cell, version(cell)), partial(load, cell))[source]
        return out

    return read


def _spans(part: slice, length: int) -> tuple[list[int], list[slice], list[slice]]:
    """Along one axis all chunks, their places in the result, and the parts of the chunks."""
    found: tuple[list[int], list[slice], list[slice]] = ([], [], [])
    for position in range(part.start // length, -(-part.stop // length)):
        start = position * length
        low, high = max(part.start, start), min(part.stop, start + length)
        found[0].append(position)
        found[1].append(slice(low - part.start, high - part.start))
        found[2].append(slice(low - start, high - start))
    return found
