"""Mutex watershed (Wolf et al. 2018, doi:10.1007/978-3-030-01225-0_34; arXiv:1904.12654).

All edges are visited from the surest to the least sure. One that joins makes one segment of two
unless they exclude each other; one that parts makes the two exclude each other. An edge that joins
is as sure as its affinity ``a``, one that parts as ``1 - a``. Far edges part. Near edges join, or
part as well where their affinity is low: with that the voxels of membranes stay apart, which else
join whatever is next to them in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.labels.edges import Edges, Offsets, check_edges, shift_slices
from unmask.labels.mutex_kernel import pack, partition, sort_down
from unmask.labels.relabeling import relabel
from unmask.space.random import generator

# Voxels and edges are counted in 32 bits.
_MOST = 2**31 - 1


def mutex_watershed(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    strides: int | Sequence[int] = 1,
    seed: int | None = None,
    join_above: float = 0.5,
    foreground: np.ndarray | None = None,
) -> NDArray[np.int32]:
    """Segments of an affinity graph.

    Args:
        affinities: ``(k, *space)`` in [0, 1].
        offsets: one for each channel, slow axis first; those of length 1 are near, others far.
        strides: a far edge counts where every coordinate of its voxel is a multiple of its axis's
            stride; one number stands for all axes.
        seed: far edges are drawn with it, each with probability one over the product of strides,
            in place of the grid.
        join_above: near edges of this affinity and less part; below 0 all of them join, as
            published.
        foreground: ``(*space)`` booleans; edges that touch background do not count.

    Returns:
        ``(*space)`` int32 from 1, background 0.

    Raises:
        DataError: see ``edges.checked_edges``; strides that do not fit the axes; ``join_above``
            over 1; an image of more edges than 32 bits count.
    """
    edges = check_edges(affinities, offsets, foreground)
    steps = _check_strides(strides, len(edges.space))
    # NaN fails every comparison.
    if not join_above <= 1:
        raise DataError(
            message(
                "join_above",
                expected="an affinity up to 1, or a number below 0 to let all near edges join",
                found=str(join_above),
                do="Write for example 0.5, or -1 for the published form.",
            )
        )
    kinds = list(_edges(edges, steps, seed, join_above))
    count = int(np.prod(edges.space))
    total = sum(len(each) for each, _, _ in kinds)
    if max(count, total) > _MOST:
        raise DataError(
            message(
                f"mutex watershed of {edges.space}",
                expected=f"at most {_MOST} voxels and edges",
                found=f"{count} voxels and {total} edges",
                do="Decode in blocks, or raise strides.",
            )
        )
    numbers, ranks, parts = (list(each) for each in zip(*kinds, strict=True))
    order = sort_down(np.concatenate(ranks), np.concatenate(numbers))
    # Segments are named after one of their voxels, and no voxel is 0.
    labels = partition(order, sum(parts), count).reshape(edges.space) + 1
    return relabel(labels if edges.foreground is None else labels * edges.foreground)


def _edges(
    edges: Edges, strides: Sequence[int], seed: int | None, join_above: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], int]]:
    """By channel: packed edges, their ranks, and how many of them part."""
    names = np.arange(np.prod(edges.space), dtype=np.int32).reshape(edges.space)
    for channel in [*edges.near, *edges.far]:
        near = channel in edges.near
        here, there = shift_slices(edges.space, edges.offsets[channel])
        if not near and seed is None:
            here, there = _on_grid(here, there, strides)
        values = edges.values[channel][here].reshape(-1)
        first, second = names[here].reshape(-1), names[there].reshape(-1)
        keep = np.ones(len(values), bool)
        if edges.foreground is not None:
            keep = (edges.foreground[here] & edges.foreground[there]).reshape(-1)
        if not near and seed is not None:
            draw = generator(seed, "mutex", channel).random(len(values))
            keep &= draw * np.prod(strides) < 1
        if not keep.all():
            values, first, second = values[keep], first[keep], second[keep]
        parts = values <= join_above if near else np.ones(len(values), bool)
        # The bits of numbers of 0 and more have the order of the numbers.
        ranks = np.where(parts, 1 - values, values).view(np.int32)
        yield pack(first, second, parts), ranks, int(np.count_nonzero(parts))


def _on_grid(
    here: tuple[slice, ...], there: tuple[slice, ...], strides: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The same slices at the coordinates of ``here`` that are multiples of the strides."""
    sparse_here, sparse_there = [], []
    for a, b, stride in zip(here, there, strides, strict=True):
        skip = -a.start % stride
        sparse_here.append(slice(a.start + skip, a.stop, stride))
        sparse_there.append(slice(b.start + skip, b.stop, stride))
    return tuple(sparse_here), tuple(sparse_there)


def _check_strides(strides: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """One stride for every axis."""
    given = (strides,) * ndim if isinstance(strides, int) else tuple(int(step) for step in strides)
    if len(given) != ndim or min(given) < 1:
        raise DataError(
            message(
                "strides",
                expected=f"a number of 1 or more, or {ndim} of them, one for each axis",
                found=str(strides),
                do="Write for example 1, or [1, 5, 5] for a volume.",
            )
        )
    return given
