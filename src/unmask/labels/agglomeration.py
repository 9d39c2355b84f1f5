"""Agglomeration of fragments: the two whose affinity is highest become one, again and again.

With the mean or a quantile of the affinities between two regions as in waterz (Funke et al. 2018,
doi:10.1109/TPAMI.2018.2835450); the mean over near and far affinities is average linkage (Bailoni
et al. 2022, arXiv:1906.11713). Our own kernels, as the library writes to the process's output and
knows three axes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.labels.agglomeration_kernel import LEVELS, MEAN, contract
from unmask.labels.edges import Offsets, check_edges
from unmask.labels.regions import Regions, region_graph
from unmask.labels.relabeling import relabel
from unmask.labels.watershed import Watershed, check_watershed, fragments


def waterz(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    threshold: float = 0.5,
    quantile: int | None = None,
    bins: int = 0,
    watershed: Mapping[str, Any] | Watershed | None = None,
    foreground: np.ndarray | None = None,
) -> NDArray[np.int32]:
    """Objects by joining fragments over their common faces.

    Args:
        affinities: ``(k, *space)`` in [0, 1].
        offsets: one for each channel, slow axis first; those of length 1 count.
        threshold: fragments whose affinity is above ``1 - threshold`` are joined.
        quantile: percent; the affinity of two regions is this quantile of the largest affinities
            of the fragments that they consist of, not the mean.
        bins: number of steps in which affinities are ordered; 0: they are ordered exactly.
        watershed: options of ``Watershed``, which makes the fragments.
        foreground: ``(*space)`` booleans.

    Returns:
        ``(*space)`` int32 from 1, background 0.
    """
    edges = check_edges(affinities, offsets, foreground)
    cut = fragments(edges, check_watershed(watershed))
    return agglomerate(
        cut, region_graph(cut, edges), threshold=threshold, quantile=quantile, bins=bins
    )


def average_linkage(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    threshold: float = 0.5,
    watershed: Mapping[str, Any] | Watershed | None = None,
    foreground: np.ndarray | None = None,
) -> NDArray[np.int32]:
    """Objects by joining fragments that touch, by the mean of near and far affinities.

    Args:
        affinities: ``(k, *space)`` in [0, 1].
        offsets: one for each channel, slow axis first; all count.
        threshold: fragments whose mean affinity is above ``1 - threshold`` are joined.
        watershed: options of ``Watershed``, which makes the fragments.
        foreground: ``(*space)`` booleans.

    Returns:
        ``(*space)`` int32 from 1, background 0.
    """
    edges = check_edges(affinities, offsets, foreground)
    cut = fragments(edges, check_watershed(watershed))
    graph = region_graph(cut, edges, range(len(edges.offsets)))
    return agglomerate(cut, graph, threshold=threshold)


def agglomerate(
    labels: NDArray[np.int32],
    graph: Regions,
    *,
    threshold: float = 0.5,
    quantile: int | None = None,
    bins: int = 0,
) -> NDArray[np.int32]:
    """Join the regions of ``labels``, see `waterz`; ids of the result are consecutive.

    Regions that do not touch are never joined; what is between them counts once they belong to
    regions that do.

    Raises:
        DataError: an option out of range.
    """
    wrong = {
        "threshold": not 0 <= threshold <= 1,
        "quantile": quantile is not None and not 0 <= quantile < 100,
        "bins": not isinstance(bins, int | np.integer) or bins < 0,
    }
    for name in (name for name, bad in wrong.items() if bad):
        raise DataError(
            message(
                f"agglomeration: {name}",
                expected="threshold in [0, 1], quantile in 0 .. 99 or none, bins a whole number "
                "of 0 or more",
                found=str({"threshold": threshold, "quantile": quantile, "bins": bins}[name]),
                do="Correct the option.",
            )
        )
    count = int(labels.max(initial=0)) + 1
    level = np.minimum((graph.highest * LEVELS).astype(np.int64), LEVELS - 1)
    roots = contract(
        count,
        graph.pairs.copy(),
        (graph.mean.copy(), graph.count.copy(), level, graph.touching.copy()),
        np.float32(threshold),
        MEAN if quantile is None else quantile,
        bins,
    )
    present = np.zeros(count, bool)
    present[labels.reshape(-1)] = True
    # Names of regions are made consecutive before the image is, which takes one look at it less.
    return relabel(np.where(present, roots, 0))[labels]
