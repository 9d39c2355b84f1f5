"""Arrays stored in chunks, for formats that can only decode whole chunks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from functools import partial

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
        for parts in itertools.product(*spans):
            cell, here, there = zip(*parts, strict=True)
            values = shelf.get((cell, version(cell)), partial(load, cell))
            out[here] = values[there]
        return out

    return read


def _spans(part: slice, length: int) -> list[tuple[int, slice, slice]]:
    """Along one axis every chunk, its place in the result, and the part of the chunk."""
    found: list[tuple[int, slice, slice]] = []
    for position in range(part.start // length, -(-part.stop // length)):
        start = position * length
        low, high = max(part.start, start), min(part.stop, start + length)
        here = slice(low - part.start, high - part.start)
        found.append((position, here, slice(low - start, high - start)))
    return found
