"""Multicut of fragments: the cut that agrees best with all edges at once, merging and parting.

Kappes et al. 2011, doi:10.1007/978-3-642-23094-3_3; solved by greedy additive edge contraction and
Kernighan-Lin moves (Keuper et al. 2015, doi:10.1109/ICCV.2015.204). Costs as in Beier et al. 2017,
doi:10.1038/nmeth.4151.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.multicut import (
    GreedyAdditiveMulticut,
    KernighanLinMulticut,
    MulticutObjective,
)
from numpy.typing import NDArray

from unmask.errors import DataError, message
from unmask.labels.edges import Offsets, check_edges
from unmask.labels.regions import Regions, region_graph
from unmask.labels.relabeling import relabel
from unmask.labels.watershed import Watershed, check_watershed, fragments

Solver = Literal["kernighan_lin", "greedy"]
# Beyond these the logarithm would let a single edge decide.
_SURE = 0.001


def multicut(
    affinities: np.ndarray,
    offsets: Offsets,
    *,
    beta: float = 0.5,
    solver: Solver = "kernighan_lin",
    watershed: Mapping[str, Any] | Watershed | None = None,
    foreground: np.ndarray | None = None,
) -> NDArray[np.int32]:
    """Objects by the multicut of a watershed's fragments.

    Args:
        affinities: ``(k, *space)`` in [0, 1].
        offsets: one for each channel, slow axis first; those of length 1 count.
        beta: boundary bias in (0, 1): the larger, the more is cut.
        solver: "kernighan_lin", which starts from the other, or "greedy".
        watershed: options of ``Watershed``, which makes the fragments.
        foreground: ``(*space)`` booleans.

    Returns:
        ``(*space)`` int32 from 1, background 0.
    """
    edges = check_edges(affinities, offsets, foreground)
    cut = fragments(edges, check_watershed(watershed))
    return multicut_regions(cut, region_graph(cut, edges), beta=beta, solver=solver)


def multicut_regions(
    labels: NDArray[np.int32],
    graph: Regions,
    *,
    beta: float = 0.5,
    solver: Solver = "kernighan_lin",
) -> NDArray[np.int32]:
    """Join the regions of ``labels``; ids of the result are consecutive.

    Raises:
        DataError: an option out of range.
    """
    if not 0 < beta < 1 or solver not in ("kernighan_lin", "greedy"):
        raise DataError(
            message(
                "multicut",
                expected="beta in (0, 1), solver kernighan_lin or greedy",
                found=f"beta={beta}, solver={solver!r}",
                do="Correct the option.",
            )
        )
    if not len(graph):
        return relabel(labels)
    nodes = UndirectedGraph.from_unique_edges(int(labels.max()) + 1, graph.pairs.astype(np.uint64))
    objective = MulticutObjective(nodes, edge_costs(graph, beta))
    chosen = KernighanLinMulticut() if solver == "kernighan_lin" else GreedyAdditiveMulticut()
    # Region 0 is the background; it has no edge and so stays alone.
    names = np.asarray(chosen.optimize(objective)).astype(np.int64) + 1
    return relabel(np.where(labels > 0, names[labels], 0))


def edge_costs(graph: Regions, beta: float = 0.5) -> NDArray[np.float64]:
    """Cost of cutting each edge: log odds of being no boundary, times its share of the longest."""
    boundary = np.clip(1 - graph.mean, _SURE, 1 - _SURE)
    odds = np.log((1 - boundary) / boundary) + np.log((1 - beta) / beta)
    return odds * (graph.count / graph.count.max(initial=1))
