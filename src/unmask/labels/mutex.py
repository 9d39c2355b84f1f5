"""Mutex watershed (Wolf et al. 2018, doi:10.1007/978-3-030-01225-0_34; arXiv:1904.12654).

All edges are visited from the surest to the least sure: an edge to a face neighbour joins two
segments unless they exclude each other; a longer edge makes the two segments exclude each other.
The first are as sure as their affinity ``a``, the others as ``1 - a``.
"""

from __future__ import annotations

from collections.abc import Sequence

import bioimage_cpp.segmentation as peer
import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, told
from unmask.labels.edges import Edges, Offsets, checked_edges
from unmask.labels.relabel import relabel


def mutex_watershed(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    strides: int | Sequence[int] = 1,
    foreground: np.ndarray | None = None,
) -> NDArray[np.int32]:
    """Segments of an affinity graph without a threshold.

    Args:
        affinities: ``(k, *space)`` in [0, 1].
        offsets: one for each channel, slow axis first; those of length 1 join, all others part.
        strides: a far edge is used where every coordinate is a multiple of its axis's stride;
            one number stands for all axes.
        foreground: ``(*space)`` booleans; edges that touch background are left out.

    Returns:
        ``(*space)`` int32 from 1, background 0.

    Raises:
        DataError: see ``edges.checked_edges``; strides that do not fit the axes.
    """
    edges = checked_edges(affinities, offsets, foreground)
    return mutex_of_edges(edges, strides=strides)


def mutex_of_edges(edges: Edges, *, strides: int | Sequence[int] = 1) -> NDArray[np.int32]:
    """`mutex_watershed` of checked affinities."""
    step = checked_strides(strides, len(edges.space))
    order = [*edges.near, *edges.far]
    # The library knows planes and volumes.
    lead = (1,) * max(0, 2 - len(edges.space))
    weights = np.empty_like(edges.values)
    near = len(edges.near)
    weights[:near] = edges.values[order[:near]]
    np.subtract(1, edges.values[order[near:]], out=weights[near:])
    labels = peer.mutex_watershed(
        weights.reshape(len(order), *lead, *edges.space),
        [(*(0 for _ in lead), *edges.offsets[channel]) for channel in order],
        near,
        strides=(*lead, *step),
        mask=None if edges.foreground is None else edges.foreground.reshape(*lead, *edges.space),
    )
    # Numbers that the library gives to the background leave gaps.
    return relabel(labels.reshape(edges.space))


def checked_strides(strides: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """One stride for every axis.

    Raises:
        DataError: another number of strides, or one below 1.
    """
    given = (strides,) * ndim if isinstance(strides, int) else tuple(int(step) for step in strides)
    if len(given) != ndim or min(given) < 1:
        raise DataError(
            told(
                "strides",
                expected=f"a number of 1 or more, or {ndim} of them, one for each axis",
                found=str(strides),
                do="Write for example 1, or [1, 5, 5] for a volume.",
            )
        )
    return given
