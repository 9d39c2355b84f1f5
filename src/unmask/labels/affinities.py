"""From affinities to objects: one entry for every decoder, n axes.

``mutex`` needs no threshold and far offsets, and is best where objects touch along lines of one
voxel; ``waterz``, ``average`` and ``multicut`` join the fragments of a watershed and are best and
quickest where membranes lie between objects. ``average`` is the one of them that uses far offsets.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, RecipeError, message
from unmask.labels.agglomeration import average_linkage, waterz
from unmask.labels.components import connected_components
from unmask.labels.dropped import Tally
from unmask.labels.edges import Edges, Offsets, check_edges
from unmask.labels.multicut_partition import multicut
from unmask.labels.mutex import mutex_watershed
from unmask.labels.relabeling import relabel
from unmask.labels.small import remove_small, sizes
from unmask.labels.small_objects import merge_small, refill_small
from unmask.labels.watershed import boundaries, kinship
from unmask.lookup import find

METHODS: dict[str, Callable[..., NDArray[np.int32]]] = {
    "mutex": mutex_watershed,
    "waterz": waterz,
    "multicut": multicut,
    "average": average_linkage,
}
# Arguments of every decoder that are not options.
_GIVEN = ("affinities", "offsets", "foreground")
# Options of ``segment`` that all decoders share.
SHARED = ("min_foreground", "min_size", "merges", "alone_below")


def decoder(method: str, options: Mapping[str, Any]) -> Callable[..., NDArray[np.int32]]:
    """A decoder with its options: ``(affinities, offsets, *, foreground) -> labels``.

    Raises:
        RecipeError: an unknown method or option; the nearest one is suggested.
    """
    function = find(method, METHODS, "decoding")
    known = [name for name in inspect.signature(function).parameters if name not in _GIVEN]
    unknown = [name for name in options if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"decoding {method!r} has no option {unknown[0]!r}: expected some of "
            f"{', '.join([*known, *SHARED])}. {hint}Change the recipe or --set it."
        )
    return partial(function, **options)


def segment(  # noqa: PLR0913 - what all decoders share, each once
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    method: str = "mutex",
    foreground: np.ndarray | None = None,
    min_foreground: int = 0,
    min_size: int = 0,
    merges: Sequence[Sequence[int]] = (),
    alone_below: float = 0.0,
    tally: Tally | None = None,
    **options: Any,
) -> NDArray[np.int32]:
    """Label image of affinities.

    Args:
        affinities: ``(k, *space)`` float32 in [0, 1]: how likely a voxel and its neighbor at the
            channel's offset belong to one object.
        offsets: one for each channel, in voxels, slow axis first.
        method: a key of ``METHODS``.
        foreground: ``(*space)`` booleans: where objects may be; None: everywhere.
        min_foreground: parts of the foreground, connected over faces, of fewer voxels become
            background first; 0 or 1: none do.
        min_size: objects of fewer voxels are removed, and their neighbors grow into their place
            (see ``refill_small``); 0 or 1: none are.
        merges: published passes over small objects (see ``merge_small``), before ``min_size``.
        alone_below: voxels none of whose face neighbors has an affinity of so much become
            background in the end: membranes, where truth has them as background. 0: none do.
        tally: counts the dropped foreground by reason; ``alone_below`` only with a ``foreground``.
        options: keyword arguments of the method.

    Returns:
        ``(*space)`` int32: objects from 1, background 0.

    Raises:
        DataError: input or an option that is not as described.
        RecipeError: an unknown method or option.

    Examples:
        >>> affinities = np.ones((2, 1, 4))
        >>> affinities[1, 0, 2] = 0
        >>> segment(affinities, [(-1, 0), (0, -1)], method="waterz").tolist()
        [[1, 1, 2, 2]]
    """
    decode = decoder(method, options)
    _check_options(alone_below, {"min_foreground": min_foreground, "min_size": min_size})
    edges = check_edges(affinities, offsets, foreground)
    given = edges.foreground
    if given is not None and min_foreground > 1:
        edges = replace(edges, foreground=_large_parts(given, min_foreground, tally))
    labels = decode(edges.values, edges.offsets, foreground=edges.foreground)
    if merges:
        labels = relabel(merge_small(labels, merges))
    if min_size > 1:
        labels = _refill(labels, min_size, edges, tally)
    if alone_below > 0:
        labels = _without_alone(labels, edges, alone_below, None if given is None else tally)
    if tally is not None and given is not None:
        tally.settle(given)
    return labels


def _large_parts(
    foreground: NDArray[np.bool_], least: int, tally: Tally | None
) -> NDArray[np.bool_]:
    """The foreground without connected parts of fewer than ``least`` voxels."""
    pieces = connected_components(foreground, connectivity=1)
    if tally is not None:
        tally.objects("min_foreground", pieces, sizes(pieces) < least)
    return remove_small(pieces, least) > 0


def _without_alone(
    labels: NDArray[np.int32], edges: Edges, below: float, tally: Tally | None
) -> NDArray[np.int32]:
    """The labels without voxels that belong to none of their face neighbors."""
    alone = kinship(edges) < below
    if tally is not None:
        tally.voxels("alone_below", alone & (labels > 0))
    return relabel(np.where(alone, 0, labels))


def _check_options(alone_below: float, counts: Mapping[str, int]) -> None:
    if not 0 <= alone_below <= 1:
        raise DataError(
            message(
                "decoding: alone_below",
                expected="an affinity in [0, 1]",
                found=str(alone_below),
                do="Correct the option; 0 keeps all voxels.",
            )
        )
    for name, size in counts.items():
        if not size >= 0:
            raise DataError(
                message(
                    f"decoding: {name}",
                    expected="a number of voxels of 0 or more",
                    found=str(size),
                    do="Correct the option; 0 keeps all.",
                )
            )


def _refill(
    labels: NDArray[np.int32], min_size: int, edges: Edges, tally: Tally | None
) -> NDArray[np.int32]:
    """Objects of ``min_size`` voxels or more, grown into the place of the smaller ones."""
    filled = refill_small(labels, min_size, boundaries(edges), foreground=edges.foreground)
    if tally is not None:
        tally.voxels("min_size", (labels > 0) & (filled == 0))
    return relabel(filled)
