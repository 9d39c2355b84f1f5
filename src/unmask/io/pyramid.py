"""Resolution levels of label images: those of the image they belong to, or halved ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np

from unmask.io.majority import majority
from unmask.space.box import Box

# Levels are added until no axis is longer than this.
_COARSEST = 256
# Axes are halved together while their voxels differ by no more than this factor.
_ALIKE = 1.5
# Longest edge of a chunk of planes, of volumes, and of volumes with up to 16 slices.
_PLANE, _CUBE, _SLAB, _FEW = 512, 64, 256, 16
# Number of voxels of a coarser level that are computed at once.
_PIECE = 1 << 22


@dataclass(frozen=True)
class Level:
    """One resolution.

    Attributes:
        shape: voxels.
        step: number of voxels of the finer level per voxel, along every axis; None: not a whole
            number, and the nearest voxel is used.
        spacing: voxel size per axis; ones if it is not known.
        origin: position of the center of the first voxel; zeros if it is not known.
    """

    shape: tuple[int, ...]
    step: tuple[int, ...] | None
    spacing: tuple[float, ...]
    origin: tuple[float, ...]


def plan_levels(
    first: Level, source: Sequence[Level] = (), *, coarsest: int = _COARSEST, still: int = 0
) -> list[Level]:
    """All levels of a label image, the finest first.

    NGFF requires labels to have the same number of levels as their image, so the levels of the
    image are used. If it has only one, long axes are halved until voxels are about cubes and no
    axis is longer than ``coarsest``.

    Args:
        first: the finest level.
        source: levels of the image, the finest first.
        coarsest: largest number of voxels along an axis of the coarsest level.
        still: number of leading axes that are never halved, such as time.
    """
    if len(source) > 1 and source[0].shape == first.shape:
        steps = [_step(fine.shape, coarse.shape) for fine, coarse in pairwise(source)]
        rest = [replace(level, step=step) for level, step in zip(source[1:], steps, strict=True)]
        return [first, *rest]
    return [first, *_halved(first, coarsest, still)]


def _step(fine: Sequence[int], coarse: Sequence[int]) -> tuple[int, ...] | None:
    """Ratio of the shapes of two levels per axis; None if it is not a whole number."""
    step = tuple(max(1, round(n / m)) for n, m in zip(fine, coarse, strict=True))
    fits = (m in (n // s, -(-n // s)) for n, m, s in zip(fine, coarse, step, strict=True))
    return step if all(fits) else None


def _halved(level: Level, coarsest: int, still: int) -> Iterator[Level]:
    while max(level.shape[still:]) > coarsest:
        long = [n > coarsest and axis >= still for axis, n in enumerate(level.shape)]
        finest = min(v for v, halved in zip(level.spacing, long, strict=True) if halved)
        step = tuple(
            2 if halved and v <= _ALIKE * finest else 1
            for v, halved in zip(level.spacing, long, strict=True)
        )
        shape = tuple(-(-n // s) for n, s in zip(level.shape, step, strict=True))
        spacing = tuple(a * s for a, s in zip(level.spacing, step, strict=True))
        # Positions are those of centers of voxels, and a center moves when voxels are joined.
        origin = tuple(
            o + (s - 1) / 2 * v for o, s, v in zip(level.origin, step, level.spacing, strict=True)
        )
        level = Level(shape, step, spacing, origin)
        yield level


def label_chunks(shape: Sequence[int], *, still: int = 0) -> tuple[int, ...]:
    """Shape of a chunk of labels; the same in memory and in blocks.

    Args:
        shape: number of voxels per axis.
        still: number of leading axes, such as time, along which chunks have length 1.
    """
    space = shape[still:]
    edge = _PLANE if len(space) == 2 else _CUBE if space[0] > _FEW else _SLAB
    return (*(1,) * still, *(max(1, min(edge, n)) for n in space))


def pieces_of(shape: Sequence[int], chunks: Sequence[int]) -> list[Box]:
    """Boxes of whole chunks that partition a level; see `piece_edges`."""
    edges = piece_edges(shape, chunks)
    counts = [-(-n // edge) for n, edge in zip(shape, edges, strict=True)]
    low = [tuple(i * e for i, e in zip(c, edges, strict=True)) for c in np.ndindex(*counts)]
    return [
        Box(start, tuple(min(a + e, n) for a, e, n in zip(start, edges, shape, strict=True)))
        for start in low
    ]


def piece_edges(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Voxels along each axis of a piece of whole chunks, about 4 million in all."""
    edges = [min(a, b) for a, b in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(edges))):
        more = max(1, _PIECE // prod(edges))
        edges[axis] = min(edges[axis] * more, -(-shape[axis] // edges[axis]) * edges[axis])
    return tuple(edges)


def coarsen(fine: Any, coarse: Any, step: Sequence[int] | None, box: Box) -> None:
    """Fill a box of a coarser level from the finer level; both are NumPy-like arrays."""
    if step is None:
        coarse[box.slices] = _nearest(fine, coarse.shape, box)
        return
    bounds = zip(box.start, box.stop, step, fine.shape, strict=True)
    part = fine[tuple(slice(a * s, min(b * s, n)) for a, b, s, n in bounds)]
    coarse[box.slices] = majority(np.asarray(part), step)


def _nearest(fine: Any, shape: Sequence[int], box: Box) -> np.ndarray:
    """The voxel at the center of every voxel of the box."""
    places = [
        ((np.arange(a, b) + 0.5) * n / m).astype(int)
        for a, b, n, m in zip(box.start, box.stop, fine.shape, shape, strict=True)
    ]
    part = np.asarray(fine[tuple(slice(p[0], p[-1] + 1) for p in places)])
    return part[np.ix_(*(p - p[0] for p in places))]
