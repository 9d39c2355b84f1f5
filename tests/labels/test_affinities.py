"""The entry to every decoder: input that is refused, input at the limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.errors import DataError, RecipeError
from unmask.labels import connected_components
from unmask.labels.affinities import METHODS, segment
from unmask.labels.edges import inside, shift_slices

NEAR = {2: [(-1, 0), (0, -1)], 3: [(-1, 0, 0), (0, -1, 0), (0, 0, -1)]}
FAR = {2: [(-3, 0), (0, -3)], 3: [(-2, 0, 0), (0, -3, 0), (0, 0, -3)]}


def of_labels(labels, offsets):
    """Perfect affinities: 1 inside an object, 0 between objects and in the background."""
    values = np.zeros((len(offsets), *labels.shape), np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(labels.shape, offset)
        values[channel][here] = (labels[here] == labels[there]) & (labels[here] > 0)
    return values


def same(first, second):
    """Whether two label images differ by their ids only."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    ids = [len(np.unique(row)) for row in pairs]
    return ids == [pairs.shape[1]] * 2 and np.array_equal(first == 0, second == 0)


@pytest.fixture
def halves():
    labels = np.ones((12, 14), np.int32)
    labels[:, 7:] = 2
    return labels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a, o: (np.where(np.arange(14) == 3, np.nan, a), o), "NaN"),
        (lambda a, o: (a + 0.5, o), "from 0.5 to 1.5"),
        (lambda a, o: (a - 0.5, o), "from -0.5 to 0.5"),
        (lambda a, o: (np.full_like(a, np.nan), o), "nothing but NaN"),
        (lambda a, o: (a, [(*step, 0) for step in o]), "one for each axis"),
        (lambda a, o: (a, o[:-1]), "one for each channel"),
        (lambda a, o: (a, [(0, 0), *o[1:]]), "other than 0"),
        (lambda a, o: (a[2:], o[2:]), "face neighbor"),
        (lambda a, o: (a, [(-20, 0), (0, -20), (-30, 0), (0, -30)]), "face neighbor"),
        (lambda a, o: (a.astype(complex), o), "complex"),
        (lambda a, o: (a[0, 0], [(-1,)]), "(offsets, *space)"),
    ],
)
def test_input_that_cannot_be_right_is_refused(halves, method, change, named):
    offsets = NEAR[2] + FAR[2]
    with pytest.raises(DataError) as error:
        segment(*change(of_labels(halves, offsets), offsets), method=method)
    assert named in str(error.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("foreground", [np.ones((14, 12), bool), np.full((12, 14), 0.7)])
def test_a_foreground_that_does_not_fit_is_refused(halves, method, foreground):
    with pytest.raises(DataError, match="foreground"):
        segment(of_labels(halves, NEAR[2]), NEAR[2], method=method, foreground=foreground)


def test_an_unknown_method_or_option_is_named():
    with pytest.raises(RecipeError, match="mutex"):
        segment(np.ones((2, 4, 4)), NEAR[2], method="mutexx")
    with pytest.raises(RecipeError, match="strides"):
        segment(np.ones((2, 4, 4)), NEAR[2], method="mutex", stride=2)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_no_foreground_is_no_object(method, ndim):
    space = (5, 6, 7)[:ndim]
    found = segment(
        np.ones((ndim, *space)), NEAR[ndim], method=method, foreground=np.zeros(space, bool)
    )
    assert found.dtype == np.int32
    assert found.shape == space
    assert not found.any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_one_object_stays_one(method, ndim):
    space = (6, 8, 7)[:ndim]
    found = segment(np.ones((ndim, *space)), NEAR[ndim], method=method)
    assert (found == 1).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_voxel_is_one_object(method):
    assert segment(np.ones((2, 1, 1)), NEAR[2], method=method).tolist() == [[1]]


@pytest.mark.parametrize("method", METHODS)
def test_rounding_outside_the_range_is_clipped(halves, method):
    values = of_labels(halves, NEAR[2])
    near = np.where(values > 0, 1 + 1e-6, -1e-6)
    assert same(segment(near, NEAR[2], method=method), segment(values, NEAR[2], method=method))


def boxes(ndim, seed, *, walls):
    """A random partition into boxes, with walls of background where asked for."""
    random = np.random.default_rng(seed)
    labels = np.zeros((), np.int64)
    for _ in range(ndim):
        cuts = np.cumsum(random.integers(5, 9, 6 - ndim))
        line = np.searchsorted(cuts[:-1], np.arange(cuts[-1]), side="right")
        labels = labels[..., None] * len(cuts) + line
    labels = labels + 1
    if walls:
        for axis in range(ndim):
            edge = np.diff(labels, axis=axis, prepend=0) != 0
            labels = np.where(edge, 0, labels)
    return labels


@pytest.mark.parametrize(
    ("method", "walls"), [*((method, True) for method in METHODS), ("mutex", False)]
)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_perfect_affinities_give_the_objects_back(method, walls, ndim, seed):
    """Fragments need walls of background between objects; ``mutex`` does not."""
    labels = boxes(ndim, seed, walls=walls)
    offsets = NEAR[ndim] + FAR[ndim]
    values = of_labels(labels, offsets)
    assert same(segment(values, offsets, method=method, foreground=labels > 0), labels)


def cells(ndim, seed, *, walls):
    """Random cells with crooked faces, every one in one piece."""
    random = np.random.default_rng(seed)
    space = random.integers(9, (40, 16)[ndim - 2], ndim)
    centers = random.random((random.integers(1, 12), ndim)) * space
    index = np.moveaxis(np.indices(space), 0, -1) + random.normal(0, 0.3, (*space, ndim))
    labels = 1 + ((index[..., None, :] - centers) ** 2).sum(-1).argmin(-1)
    if walls:
        differ = [np.diff(labels, axis=axis, prepend=0) != 0 for axis in range(ndim)]
        labels = np.where(np.any(differ, axis=0), 0, labels)
    return connected_components(labels, connectivity=1)


@pytest.mark.parametrize(
    ("method", "walls"), [*((method, True) for method in METHODS), ("mutex", False)]
)
@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_perfect_affinities_of_random_cells_give_them_back(method, walls, ndim, seed):
    labels = cells(ndim, seed, walls=walls)
    offsets = [step for step in NEAR[ndim] + FAR[ndim] if inside(step, labels.shape)]
    values = of_labels(labels, offsets)
    assert same(segment(values, offsets, method=method, foreground=labels > 0), labels)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_voxels_without_kin_become_background(method, ndim):
    labels = boxes(ndim, 2, walls=True)
    offsets = NEAR[ndim] + FAR[ndim]
    values = of_labels(labels, offsets)
    found = segment(values, offsets, method=method, min_size=4, alone_below=0.5)
    assert same(found, labels)
    with pytest.raises(DataError, match="alone_below"):
        segment(values, offsets, method=method, alone_below=1.5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ndim", [2, 3])
def test_specks_of_the_foreground_hold_no_object(method, ndim):
    labels = boxes(ndim, 2, walls=True)
    speck = (slice(0, 2), *(slice(0, 1),) * (ndim - 1))
    with_speck = labels.copy()
    with_speck[:3] = 0
    kept = with_speck.copy()
    with_speck[speck] = labels.max() + 1
    offsets = NEAR[ndim] + FAR[ndim]
    values = of_labels(with_speck, offsets)
    given = {"method": method, "foreground": with_speck > 0}
    assert same(segment(values, offsets, **given), with_speck)
    assert same(segment(values, offsets, min_foreground=3, **given), kept)
    with pytest.raises(DataError, match="min_foreground"):
        segment(values, offsets, min_foreground=-1, **given)


@pytest.mark.parametrize("method", METHODS)
def test_membranes_go_to_their_neighbors(method):
    labels = boxes(2, 1, walls=True)
    offsets = NEAR[2] + FAR[2]
    found = segment(of_labels(labels, offsets), offsets, method=method, min_size=12)
    assert (found > 0).all()
    inside = labels > 0
    assert same(np.where(inside, found, 0), labels)


def test_small_objects_merge_as_published():
    labels = np.repeat([[1, 1, 1, 1, 2, 2, 2, 2]], 8, 0)
    labels[4, 4] = 3
    values = of_labels(labels, NEAR[2])
    assert segment(values, NEAR[2]).max() == 3
    assert segment(values, NEAR[2], merges=[(1, 3)]).max() == 2


def test_results_are_the_same_in_every_memory_order(halves):
    offsets = NEAR[2] + FAR[2]
    values = of_labels(halves, offsets)
    turned = np.asfortranarray(values.astype(np.float64))
    for method in METHODS:
        expected = segment(values, offsets, method=method)
        assert np.array_equal(segment(turned, offsets, method=method), expected)
