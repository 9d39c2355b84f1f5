import numpy as np

from unmask.pixels.forest import forest_shares, grow_forest


def grown(features, classes, count, **options):
    rng = np.random.default_rng(0)
    return grow_forest(features, classes, count=count, trees=20, rng=rng, **options)


def test_a_forest_learns_what_no_line_divides():
    rng = np.random.default_rng(1)
    features = rng.uniform(-1, 1, (600, 6)).astype(np.float32)
    classes = ((features[:, 0] > 0) ^ (features[:, 1] > 0)).astype(np.int64)
    forest = grown(features[:400], classes[:400], 2)
    shares = forest_shares(forest, features[400:])
    assert (shares.argmax(axis=1) == classes[400:]).mean() > 0.85
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)


def test_equal_pixels_of_two_classes_and_constant_features_end_in_a_leaf():
    features = np.ones((10, 3), np.float32)
    classes = np.arange(10) % 2
    shares = forest_shares(grown(features, classes, 2), features)
    assert 0.3 < shares[0, 0] < 0.7


def test_leaves_have_as_many_pixels_as_asked_for():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(200, 4)).astype(np.float32)
    classes = rng.integers(0, 2, 200)
    small, large = (grown(features, classes, 2, leaf=leaf) for leaf in (1, 20))
    assert large.feature.shape[1] < small.feature.shape[1] / 4


def test_the_same_seed_grows_the_same_forest():
    rng = np.random.default_rng(3)
    features, classes = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 3, 50)
    first, second = (grown(features, classes, 3) for _ in range(2))
    np.testing.assert_array_equal(first.shares, second.shares)
