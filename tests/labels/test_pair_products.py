"""Products of neighboring vectors, compared with plain slices."""

import numpy as np
import pytest

from unmask.labels.edges import shift_slices
from unmask.labels.pair_products import Vectors, cosines, rows_of, spread
from unmask.space.random import generator

OFFSETS = {1: [(-2,), (3,)], 2: [(-1, 0), (2, -3), (-9, 0)], 3: [(-1, 0, 0), (1, -2, 3)]}
SPACES = {1: (9,), 2: (5, 7), 3: (3, 5, 6)}


def vectors(ndim, seed):
    rng = generator(seed, "products")
    values = rng.standard_normal((4, int(np.prod(SPACES[ndim]))))
    return Vectors(values, 1 / np.linalg.norm(values, axis=0))


def unit(given, space):
    return (given.values * given.inverse).reshape(-1, *space)


@pytest.mark.parametrize("ndim", SPACES)
def test_cosines(ndim):
    space, offsets = SPACES[ndim], OFFSETS[ndim]
    one, two = vectors(ndim, 1), vectors(ndim, 2)
    found = np.full((len(offsets), one.values.shape[1]), 9.0)
    cosines(one, two, rows_of(space, offsets), into=found)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(space, offset)
        expected = np.full(space, 9.0)
        left, right = (
            unit(one, space)[(slice(None), *here)],
            unit(two, space)[(slice(None), *there)],
        )
        expected[here] = (left * right).sum(0)
        np.testing.assert_allclose(found[channel].reshape(space), expected)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("ndim", SPACES)
def test_spread(ndim, back):
    space, offsets = SPACES[ndim], OFFSETS[ndim]
    one, two = vectors(ndim, 1), vectors(ndim, 2)
    slope = generator(3, "slope").standard_normal((len(offsets), one.values.shape[1]))
    found = np.ones_like(one.values)
    spread(slope, one, two, rows_of(space, offsets), into=found, back=back)
    expected = np.ones((4, *space))
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(space, offset)
        share = slope[channel].reshape(space)[here]
        expected[(slice(None), *here)] += share * unit(two, space)[(slice(None), *there)]
        if back:
            expected[(slice(None), *there)] += share * unit(one, space)[(slice(None), *here)]
    np.testing.assert_allclose(found.reshape(expected.shape), expected)


def test_no_pairs():
    rows = rows_of((2, 2), [(-5, 0)])
    assert len(rows.here) == 0
    found = np.ones((1, 4))
    given = Vectors(np.ones((3, 4)), np.ones(4))
    cosines(given, given, rows, into=found)
    spread(found, given, given, rows, into=given.values, back=True)
    assert (found == 1).all()
