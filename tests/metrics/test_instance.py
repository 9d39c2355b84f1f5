"""Metrics of objects against dense, slow arithmetic and the table of edge cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment

from unmask.errors import DataError
from unmask.metrics import (
    aji,
    aji_cellpose,
    aji_pea,
    aji_plus,
    ap,
    cellseg_f1,
    cellseg_matching,
    dq,
    f1,
    matching,
    overlap,
    pq,
    sq,
)
from unmask.metrics import cellseg as cellseg_module
from unmask.metrics.assignment import assign

EMPTY = np.zeros((6, 7), np.int32)
ONE = EMPTY.copy()
ONE[1:3, 1:4] = 4


def blobs(seed, shape, n):
    """Boxes over one another: touching, nested and cut objects."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int32)
    for name in rng.permutation(n) + 1:
        start = [rng.integers(0, s) for s in shape]
        labels[tuple(slice(a, a + rng.integers(1, 5)) for a in start)] = name
    return labels


@st.composite
def label_pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=3, min_side=3, max_side=9))
    seed = draw(st.integers(0, 10**6))
    truth = blobs(seed, shape, draw(st.integers(0, 8)))
    if draw(st.booleans()):  # a shifted truth matches well, an independent image badly
        return truth, np.roll(truth, 1, axis=-1)
    return truth, blobs(seed + 1, shape, draw(st.integers(0, 8)))


def dense(truth, predicted):
    """Intersections and unions of all objects with all."""
    left = [truth == i for i in np.unique(truth[truth > 0])]
    right = [predicted == i for i in np.unique(predicted[predicted > 0])]
    shape = (len(left), len(right))
    shared = np.array([[(a & b).sum() for b in right] for a in left]).reshape(shape)
    union = np.array([[(a | b).sum() for b in right] for a in left]).reshape(shape)
    areas = [np.array([a.sum() for a in side], int) for side in (left, right)]
    return shared, union, *areas


def dense_matching(pair, threshold):
    shared, union, *_ = dense(*pair)
    iou = shared / np.maximum(union, 1)
    if 0 in iou.shape:
        return 0, 0.0, iou.shape
    rows, columns = linear_sum_assignment(
        -(iou >= threshold).astype(float) - iou / (2 * min(iou.shape))
    )
    good = iou[rows, columns] >= threshold
    return int(good.sum()), float(iou[rows, columns][good].sum()), iou.shape


@given(label_pairs(), st.sampled_from([0.1, 0.2, 0.25, 1 / 3, 0.5, 0.6, 0.75, 1.0]))
@settings(max_examples=300)
def test_matching_is_the_dense_assignment(pair, threshold):
    tp, total, (n_true, n_predicted) = dense_matching(pair, threshold)
    found = matching(*pair, threshold=threshold)
    assert (found.tp, found.fp, found.fn) == (tp, n_predicted - tp, n_true - tp)
    assert found.total == pytest.approx(total)


@given(label_pairs())
@settings(max_examples=200)
def test_panoptic_quality_and_jaccard_indices(pair):
    shared, union, left, right = dense(*pair)
    if not len(left) or not len(right):
        return
    iou = shared / union
    good = iou > 0.5
    assert dq(*pair) == pytest.approx(2 * good.sum() / sum(iou.shape))
    assert sq(*pair) == pytest.approx(iou[good].mean() if good.any() else 0)
    assert pq(*pair) == pytest.approx(dq(*pair) * sq(*pair))

    best = [(t, int(np.argmax(row))) for t, row in enumerate(iou) if row.max() > 0]
    assert aji(*pair) == pytest.approx(aggregated(shared, union, left, right, best))
    rows, columns = linear_sum_assignment(-iou)
    pairs = [(t, p) for t, p in zip(rows, columns, strict=True) if iou[t, p] > 0]
    assert summed_iou(iou, pairs) == pytest.approx(summed_iou(iou, chosen_pairs(*pair)))
    rows, columns = linear_sum_assignment(-(iou >= 0.5).astype(float) - iou / (2 * min(iou.shape)))
    foreground = ((pair[0] > 0) | (pair[1] > 0)).sum()
    # Sums of different pairs may be equal, and so may be single values: then several assignments
    # are best, and each of them is right.
    unique = len(np.unique(iou[iou > 0])) == np.count_nonzero(iou)
    if unique and set(map(tuple, pairs)) == set(map(tuple, chosen_pairs(*pair))):
        assert aji_plus(*pair) == pytest.approx(aggregated(shared, union, left, right, pairs))
        assert aji_cellpose(*pair) == pytest.approx(shared[rows, columns].sum() / foreground)


def aggregated(shared, union, left, right, pairs):
    lost = set(range(len(left))) - {t for t, _ in pairs}
    extra = set(range(len(right))) - {p for _, p in pairs}
    rest = left[list(lost)].sum() + right[list(extra)].sum()
    return sum(shared[e] for e in pairs) / (sum(union[e] for e in pairs) + rest)


def summed_iou(iou, pairs):
    return sum(iou[pair] for pair in pairs)


def chosen_pairs(truth, predicted):
    objects = overlap(truth, predicted).objects
    edges = assign(objects.truth_index, objects.predicted_index, objects.iou)
    return list(zip(objects.truth_index[edges], objects.predicted_index[edges], strict=True))


def test_thresholds_include_equality_except_for_panoptic_quality():
    truth = np.array([[1, 1, 1, 1, 0, 0]])
    half = np.array([[2, 2, 0, 0, 0, 0]])
    assert f1(truth, half, threshold=0.5) == 1
    assert f1(truth, half, threshold=0.51) == 0
    assert pq(truth, half) == 0


def test_an_object_cut_in_two_halves_is_matched_once():
    truth = np.array([[1, 1, 1, 1]])
    halves = np.array([[2, 2, 3, 3]])
    found = matching(truth, halves)
    assert (found.tp, found.fp, found.fn) == (1, 1, 0)


def test_average_precision_is_the_mean_over_ten_thresholds():
    truth = np.repeat(np.arange(1, 3), 20)[None]
    predicted = truth.copy()
    predicted[0, :7] = 0  # IoU 13 / 20 = 0.65
    assert ap(truth, predicted, threshold=0.65) == 1
    assert ap(truth, predicted, threshold=0.7) == pytest.approx(1 / 3)
    assert ap(truth, predicted) == pytest.approx((4 + 6 / 3) / 10)


def test_a_prediction_may_serve_several_truths_in_aji_only():
    truth = np.array([[1, 1, 1, 2, 2, 0]])
    joined = np.array([[7, 7, 7, 7, 7, 0]])
    assert aji(truth, joined) == pytest.approx(5 / 10)
    assert aji_plus(truth, joined) == pytest.approx(3 / 7)
    assert aji_cellpose(truth, joined) == pytest.approx(3 / 5)


def test_pea_index_keeps_its_defect():
    truth = np.zeros((5, 10), int)
    truth[:, :4], truth[:, 5:] = 1, 2
    predicted = (truth == 2).astype(int)
    assert aji(truth, predicted) == pytest.approx(25 / 45)
    assert aji_pea(truth, predicted) == 0.0
    # An absent id does the same
    gap = np.where(truth == 2, 2, 0)
    assert aji_pea(gap, predicted) == 0.0
    assert aji_pea(predicted, predicted) == 1.0


@pytest.mark.parametrize("metric", [f1, ap, pq, sq, dq])
def test_ratios_of_empty_images(metric):
    assert np.isnan(metric(EMPTY, EMPTY))
    assert metric(EMPTY, EMPTY, empty="reference") == 0
    assert metric(ONE, EMPTY) == metric(EMPTY, ONE) == 0
    nothing = np.zeros((0, 3), np.uint8)
    assert np.isnan(metric(nothing, nothing))


@pytest.mark.parametrize("metric", [aji, aji_plus, aji_cellpose, aji_pea])
def test_jaccard_indices_of_empty_images(metric):
    assert np.isnan(metric(EMPTY, EMPTY))
    assert metric(ONE, EMPTY) == metric(EMPTY, ONE) == 0


def test_the_challenge_scores_two_empty_images_as_0():
    assert cellseg_f1(EMPTY, EMPTY) == 0
    assert np.isnan(cellseg_f1(EMPTY, EMPTY, empty="undefined"))


def test_pooled_counts_of_empty_images_are_those_of_the_others():
    nothing, one = matching(EMPTY, EMPTY), matching(ONE, ONE)
    assert np.isnan((nothing + nothing).f1)
    assert (nothing + one).f1 == (one + nothing).f1 == 1


@pytest.mark.parametrize("metric", [f1, ap, pq, sq, dq, aji, aji_plus, aji_cellpose])
def test_perfect_prediction_of_renamed_objects(metric):
    truth = blobs(3, (20, 21, 5), 30)
    renamed = np.random.default_rng(0).permutation(100)[truth] + 1
    renamed[truth == 0] = 0
    assert metric(truth, renamed.astype(np.uint16)) == 1
    covering = np.full((4, 4), 9)
    assert metric(covering, covering) == 1
    assert metric(covering[:1, :1], covering[:1, :1]) == 1


def test_a_table_serves_in_place_of_two_images():
    truth, predicted = blobs(1, (12, 12), 8), blobs(2, (12, 12), 8)
    table = overlap(truth, predicted)
    assert f1(table, threshold=0.2) == f1(truth, predicted, threshold=0.2)
    with pytest.raises(TypeError, match="one overlap table"):
        f1(table, predicted)
    with pytest.raises(TypeError, match="truth and predicted"):
        f1(truth)


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(DataError, match="threshold: expected a number above 0"):
        f1(ONE, ONE, threshold=threshold)


def test_matchings_of_images_pool():
    total = matching(ONE, ONE) + matching(ONE, EMPTY) + matching(EMPTY, ONE)
    assert (total.tp, total.fp, total.fn) == (1, 1, 1)
    assert total.f1 == total.precision == total.recall == 0.5
    assert total.ap == pytest.approx(1 / 3)


def test_cellseg_drops_what_touches_the_frame_of_two():
    truth = np.zeros((12, 12), int)
    truth[1, 5] = 1
    truth[4:6, 4:6] = 2
    truth[7:10, 10] = 3
    truth[8:10, 5:7] = 4
    predicted = np.where(np.isin(truth, (2, 3)), truth, 0)
    found = cellseg_matching(truth, predicted)
    assert (found.tp, found.fp, found.fn) == (1, 0, 1)
    volume = np.zeros((5, 12, 12), int)
    volume[2] = truth
    found = cellseg_matching(volume, volume)
    assert (found.tp, found.fp, found.fn) == (2, 0, 0)


def test_cellseg_scores_large_images_in_padded_tiles(monkeypatch):
    monkeypatch.setattr(cellseg_module, "LARGE", 100)
    monkeypatch.setattr(cellseg_module, "TILE", 10)
    truth = np.zeros((10, 25), int)
    truth[4:6, 4:6] = 1  # inside the first tile
    truth[4:6, 8:13] = 2  # over a border of tiles: dropped on both sides
    truth[4:6, 14:16] = 3
    truth[4:6, 23:25] = 4  # at the image's border, but far from the padded tile's
    found = cellseg_matching(truth, np.where(truth == 3, 0, truth))
    assert (found.tp, found.fp, found.fn) == (2, 0, 1)


def test_cellseg_needs_equal_shapes():
    with pytest.raises(DataError, match="shape of truth"):
        cellseg_f1(EMPTY, EMPTY.T)
