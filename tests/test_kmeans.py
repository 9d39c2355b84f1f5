import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import DataError
from unmask.kmeans import assign, kmeans, lloyd


def blobs(count=6, each=400, dim=5, spread=0.1, shift=0.0):
    rng = np.random.default_rng(1)
    middles = rng.uniform(-2, 2, size=(count, dim)) + shift
    truth = rng.permutation(np.repeat(np.arange(count), each))
    noise = spread * rng.standard_normal((len(truth), dim))
    return (middles[truth] + noise).astype(np.float32), truth


def plain_distances(points, centers):
    gaps = points[:, None].astype(np.float64) - centers[None].astype(np.float64)
    return (gaps**2).sum(axis=2)


def same_partition(left, right):
    pairs = set(zip(left.tolist(), right.tolist(), strict=True))
    return len(pairs) == len(set(left.tolist())) == len(set(right.tolist()))


@pytest.mark.parametrize("sample", [None, 500])
def test_finds_separate_blobs(sample):
    points, truth = blobs()
    found = kmeans(points, 6, seed=3, sample=sample)
    assert same_partition(found.labels, truth)
    assert found.centers.dtype == np.float32
    assert found.centers.shape == (6, 5)


def test_inertia_is_the_sum_of_squared_distances():
    points, _ = blobs(spread=1.0)
    found = kmeans(points, 4, seed=0)
    far = plain_distances(points, found.centers)
    assert found.inertia == pytest.approx(far.min(axis=1).sum(), rel=1e-5)
    np.testing.assert_array_equal(found.labels, far.argmin(axis=1))


def test_full_fit_is_a_fixed_point():
    points, _ = blobs(spread=1.0)
    found = kmeans(points, 4, seed=0, sample=None, iterations=500)
    means = np.stack([points[found.labels == k].mean(axis=0) for k in range(4)])
    assert plain_distances(points, means).min(axis=1).sum() == pytest.approx(
        found.inertia, rel=1e-4
    )


def test_same_seed_same_clusters_other_seed_other_start():
    points, _ = blobs(spread=2.0)
    first, again, other = (kmeans(points, 5, seed=s, restarts=1, iterations=1) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.centers, again.centers)
    assert not np.array_equal(first.centers, other.centers)


def test_sample_is_nearly_as_good_as_all():
    rng = np.random.default_rng(0)
    points = blobs(count=16, each=2500, dim=32, spread=0.7)[0]
    points += rng.standard_normal(points.shape, dtype=np.float32)
    part = kmeans(points, 16, seed=0, sample=12_000)
    whole = kmeans(points, 16, seed=0, sample=None)
    assert part.inertia <= 1.002 * whole.inertia


def test_far_from_the_origin():
    points, truth = blobs(shift=3000.0)
    assert same_partition(kmeans(points, 6, seed=0).labels, truth)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**20))
def test_assign_is_the_nearest(n, dim, count, seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dim)).astype(np.float32)
    centers = rng.standard_normal((count, dim)).astype(np.float32)
    labels, distances = assign(points, centers)
    far = plain_distances(points, centers)
    np.testing.assert_allclose(distances, far.min(axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(far[np.arange(n), labels], far.min(axis=1), rtol=1e-4, atol=1e-5)


def test_more_rows_than_one_pass_and_views():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2500, 12)).astype(np.float32)
    centers = points[:7]
    view = np.asfortranarray(points)
    np.testing.assert_array_equal(assign(points, centers)[0], assign(view, centers)[0])
    np.testing.assert_array_equal(assign(points, centers)[0][:7], np.arange(7))


def test_as_many_centers_as_distinct_points():
    points = np.repeat(np.eye(4, dtype=np.float32), 5000, axis=0)
    found = kmeans(points, 4, seed=0)
    assert found.inertia == 0
    assert set(found.labels.tolist()) == {0, 1, 2, 3}


def test_a_rare_point_counts_as_distinct():
    points = np.zeros((50_000, 2), np.float32)
    points[12_345] = 1
    assert kmeans(points, 2, seed=0, sample=1000).inertia == 0


def test_one_cluster_is_the_mean():
    points, _ = blobs()
    found = kmeans(points, 1, seed=0)
    np.testing.assert_allclose(found.centers[0], points.mean(axis=0), atol=1e-4)
    assert not found.labels.any()


def test_a_center_without_points_is_defined():
    """Of two centers at one place the second has no points, and takes a place of its own."""
    points = np.repeat(np.array([[0, 0], [1, 0], [9, 9]], np.float32), 20, axis=0)
    start = np.array([[0, 0], [0, 0], [9, 9]], np.float32)
    centers = lloyd(points, start, 20, 0.0)
    assert assign(points, centers)[1].sum() == 0


def test_too_many_clusters_name_the_number_possible():
    points = np.repeat(np.eye(3, dtype=np.float32), 100, axis=0)
    with pytest.raises(DataError, match=r"at least 4 distinct points .* found 3\. Ask for at most"):
        kmeans(points, 4, seed=0)
    with pytest.raises(DataError, match="found 2"):
        kmeans(points[:2], 4, seed=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_points_must_be_finite(value):
    points, _ = blobs()
    points[7, 2] = value
    with pytest.raises(DataError, match="finite"):
        kmeans(points, 3, seed=0)


@pytest.mark.parametrize(
    ("points", "count"), [(np.zeros((4, 2)), 2), (np.zeros(4, np.float32), 2), (None, 0)]
)
def test_wrong_requests(points, count):
    points = np.zeros((4, 2), np.float32) if points is None else points
    with pytest.raises(DataError, match="k-means: expected"):
        kmeans(points, count, seed=0)
