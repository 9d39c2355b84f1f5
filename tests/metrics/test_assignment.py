"""Sparse assignment against the dense solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from unmask.metrics.assignment import assign


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.booleans())
@settings(max_examples=300)
def test_sum_is_the_largest(seed, n_rows, n_columns, ties):
    rng = np.random.default_rng(seed)
    table = rng.random((n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.5)
    if ties:
        table = np.ceil(table * 3)
    rows, columns = np.nonzero(table)
    edges = assign(rows, columns, table[rows, columns])
    assert len(set(rows[edges])) == len(set(columns[edges])) == len(edges)
    best = table[linear_sum_assignment(-table)].sum()
    assert table[rows[edges], columns[edges]].sum() == pytest.approx(best)


def test_long_chains_of_equal_edges_are_solved():
    # A path of 2 n + 1 edges: the only perfect matching takes every other one
    n = 2000
    columns = np.r_[np.arange(n + 1), np.arange(n)]
    rows = np.r_[np.arange(n + 1), np.arange(1, n + 1)]
    assert len(assign(rows, columns, np.ones(len(rows)))) == n + 1


def test_no_edge():
    assert assign(np.empty(0, int), np.empty(0, int), np.empty(0)).size == 0
