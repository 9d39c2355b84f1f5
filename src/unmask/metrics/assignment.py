"""One-to-one assignment on sparse graphs: the largest sum of weights, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


def assign(
    rows: NDArray[np.int64], columns: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Positions of the edges of an assignment with the largest sum of weights.

    Edges that every best assignment holds are taken first; in label images they are nearly all.
    What is left is solved by shortest augmenting paths, without a dense matrix.

    Args:
        rows: ``(K,)`` node on one side of each edge, 0 and up; no edge twice.
        columns: ``(K,)`` node on the other side, 0 and up.
        weight: ``(K,)``, positive.

    Source of the solver: Jonker and Volgenant 1987, doi:10.1007/BF02278710 (scipy).
    """
    if rows.size == 0:
        return np.empty(0, np.int64)
    taken, open_edges = _certain(rows, columns, weight, int(rows.max()) + 1, int(columns.max()) + 1)
    rest = np.flatnonzero(open_edges)
    if rest.size:
        rest = rest[_solve(rows[rest], columns[rest], weight[rest])]
    return np.sort(np.concatenate([np.flatnonzero(taken), rest]))


def _solve(
    rows: NDArray[np.int64], columns: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.bool_]:
    # Few images come here, and the import takes 0.3 s.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    row_ids, r = np.unique(rows, return_inverse=True)
    column_ids, c = np.unique(columns, return_inverse=True)
    # A private column for every row stands for "unmatched", so that a full matching exists. Its
    # cost is above that of every edge; all costs are positive because 0 means no edge.
    worst = float(weight.max()) + 1.0
    own = np.arange(len(row_ids))
    graph = coo_array(
        (
            np.concatenate([worst - weight, np.full(len(own), worst)]),
            (np.concatenate([r, own]), np.concatenate([c, len(column_ids) + own])),
        )
    )
    chosen_rows, chosen_columns = min_weight_full_bipartite_matching(graph.tocsr())
    partner = np.full(len(own), -1)
    partner[chosen_rows] = chosen_columns
    return partner[r] == c


@njit(cache=True, nogil=True)
def _certain(rows, columns, weight, n_rows, n_columns):  # pyright: ignore[reportMissingParameterType]
    """Edges of every best assignment, and the edges that are still open.

    An edge that outweighs the best other edges of both its ends together is in every best
    assignment: exchanging them for it would gain. Taking it closes the edges of its ends, which
    may make others certain.
    """
    taken = np.zeros(rows.size, np.bool_)
    is_open = np.ones(rows.size, np.bool_)
    changed = True
    while changed:
        changed = False
        best_row, next_row = _two_largest(rows, weight, is_open, n_rows)
        best_column, next_column = _two_largest(columns, weight, is_open, n_columns)
        row_done = np.zeros(n_rows, np.bool_)
        column_done = np.zeros(n_columns, np.bool_)
        for edge in range(rows.size):
            r, c, w = rows[edge], columns[edge], weight[edge]
            if not is_open[edge] or w < best_row[r] or w < best_column[c]:
                continue
            if w > next_row[r] + next_column[c]:
                taken[edge] = row_done[r] = column_done[c] = changed = True
        for edge in range(rows.size):
            if row_done[rows[edge]] or column_done[columns[edge]]:
                is_open[edge] = False
    return taken, is_open


@njit(cache=True, nogil=True)
def _two_largest(nodes, weight, is_open, size):  # pyright: ignore[reportMissingParameterType]
    best, following = np.zeros(size), np.zeros(size)
    for edge in range(nodes.size):
        if is_open[edge]:
            node, w = nodes[edge], weight[edge]
            if w > best[node]:
                best[node], following[node] = w, best[node]
            elif w > following[node]:
                following[node] = w
    return best, following
