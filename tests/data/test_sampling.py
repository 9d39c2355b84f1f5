from typing import Any

import numpy as np
import pytest

from unmask.data.sampling import Modalities, Order, oversample
from unmask.errors import RecipeError


def test_every_image_comes_once_an_epoch():
    order = Order(7, seed=1)
    for epoch in range(3):
        assert sorted(order[7 * epoch + i] for i in range(7)) == list(range(7))


def test_epochs_differ_and_repeat_by_seed():
    order, again = Order(20, seed=1), Order(20, seed=1)
    first, second = ([order[20 * e + i] for i in range(20)] for e in range(2))
    assert first != second
    assert [again[i] for i in range(20)] == first
    assert [Order(20, seed=2)[i] for i in range(20)] != first


def test_weights_are_kept():
    order = Order(3, seed=0, weights=[1, 0, 3])
    counts = np.bincount([order[i] for i in range(4000)], minlength=3) / 4000
    np.testing.assert_allclose(counts, [0.25, 0, 0.75], atol=0.03)


# Sizes of the published clusters of 1000 images (MEDIAR's list of modalities).
PUBLISHED = [
    117, 71, 59, 58, 56, 49, 42, 41, 35, 34, 34, 34, 29, 23, 22, 19, 19, 18, 18, 17,
    16, 16, 16, 15, 14, 13, 12, 11, 10, 10, 9, 9, 9, 9, 8, 7, 7, 7, 4, 3,
]  # fmt: skip


def test_published_clusters_give_the_published_number_of_samples():
    clusters = np.random.default_rng(0).permutation(np.repeat(np.arange(40), PUBLISHED))
    items = oversample(clusters, 50)
    assert (len(clusters), len(items)) == (1000, 2111)
    counts = np.bincount(clusters[items])
    np.testing.assert_array_equal(counts, np.maximum(PUBLISHED, 50))
    times = np.bincount(items, minlength=1000)
    assert times.min() == 1
    for cluster in range(40):
        # In turn: no image of a kind comes more than once more often than another.
        assert np.ptp(times[clusters == cluster]) <= 1


def test_no_floor_takes_every_image_once():
    assert sorted(oversample([3, 1, 3, 0], 0)) == [0, 1, 2, 3]


def test_wrong_options_of_modalities_are_refused():
    wrongs: list[dict[str, Any]] = [{"clusters": 0}, {"floor": -1}, {"features": "names"}]
    for wrong in wrongs:
        with pytest.raises(RecipeError, match=f"{next(iter(wrong))}="):
            Modalities(**wrong)
