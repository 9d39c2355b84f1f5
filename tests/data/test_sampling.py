import numpy as np

from unmask.data.sampling import Order


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
