"""The overlap table against counting by hand, for every type, order and number of axes."""

import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unmask.errors import DataError
from unmask.metrics import INSTANCE, evaluate_pair, overlap

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=7)


def by_hand(truth, predicted):
    return Counter(zip(np.ravel(truth).tolist(), np.ravel(predicted).tolist(), strict=True))


def as_counter(table):
    return Counter(
        {
            (int(table.truth_ids[t]), int(table.predicted_ids[p])): int(n)
            for t, p, n in zip(table.truth_index, table.predicted_index, table.count, strict=True)
        }
    )


@st.composite
def label_pairs(draw, top=6):
    shape = draw(SHAPES)
    kinds = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64])
    return tuple(
        draw(hnp.arrays(draw(kinds), shape, elements=st.integers(0, top))) for _ in range(2)
    )


@given(label_pairs())
@settings(max_examples=150)
def test_counts_every_pair(pair):
    truth, predicted = pair
    table = overlap(truth, predicted)
    assert as_counter(table) == by_hand(truth, predicted)
    assert table.voxels == truth.size
    assert table.truth_areas.tolist() == [int((truth == i).sum()) for i in table.truth_ids]
    assert table.predicted_areas.tolist() == [
        int((predicted == i).sum()) for i in table.predicted_ids
    ]
    keys = list(zip(table.truth_index, table.predicted_index, strict=True))
    assert keys == sorted(set(keys))


@given(label_pairs(), st.integers(0, 7), st.sampled_from([None, 3]))
@settings(max_examples=80)
def test_tables_of_blocks_add_up(pair, cut, ignore):
    truth, predicted = pair
    whole = overlap(truth, predicted, ignore=ignore)
    parts = overlap(truth[:cut], predicted[:cut], ignore=ignore) + overlap(
        truth[cut:], predicted[cut:], ignore=ignore
    )
    for name in ("truth_ids", "predicted_ids", "truth_areas", "predicted_areas", "truth_index"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    for name in ("predicted_index", "count", "voxels", "predicted_ignored"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_memory_order_and_byte_order_do_not_matter():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, (6, 7, 8)).astype(np.uint16)
    predicted = rng.integers(0, 5, (6, 7, 8)).astype(np.int64)
    expected = by_hand(truth, predicted)
    assert as_counter(overlap(np.asfortranarray(truth), predicted)) == expected
    assert as_counter(overlap(truth.astype(">u2"), predicted.astype(">i8"))) == expected
    flipped = overlap(truth[::-1, :, ::2], predicted[::-1, :, ::2])
    assert as_counter(flipped) == by_hand(truth[:, :, ::2], predicted[:, :, ::2])


def test_ids_of_every_size_and_many_pairs():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2**63, 5000, dtype=np.uint64) * 2 + 1
    predicted = rng.integers(0, 4000, 5000, dtype=np.uint64)
    table = overlap(truth, predicted)
    assert as_counter(table) == by_hand(truth, predicted)
    assert int(table.truth_ids.max()) > 2**63


def test_ids_with_equal_low_bits_stay_fast():
    noise = np.random.default_rng(0).integers(0, 100_000, 300_000).astype(np.uint64)
    empty = np.zeros_like(noise)
    overlap(noise[:10], empty[:10])
    for shift in (4, 12, 16, 20, 32, 40):
        ids = noise << np.uint64(shift)
        for pair in ((ids, ids), (ids, empty), (empty, ids), (ids, ids[::-1])):
            begin = time.process_time()
            overlap(*pair)
            # 0.02-0.2 s; probing along one long run of rows took 4.5 s
            assert time.process_time() - begin < 1.5


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.uint64])
def test_no_voxel_at_all(dtype):
    table = overlap(np.zeros((0, 4), dtype), np.zeros((0, 4), dtype))
    assert table.voxels == 0
    assert len(table.count) == len(table.truth_ids) == len(table.objects.truth_ids) == 0


def test_ignored_voxels_count_on_neither_side():
    truth = np.array([1, 1, 255, 255, 255, 0], np.uint8)
    predicted = np.array([5, 5, 5, 6, 6, 6], np.uint8)
    table = overlap(truth, predicted, ignore=255)
    assert as_counter(table) == {(1, 5): 2, (0, 6): 1}
    assert table.predicted_ignored.tolist() == [1, 2]
    # 6 lies to two thirds where truth is unknown
    assert table.objects.predicted_ids.tolist() == [5]
    assert table.objects.iou.tolist() == [1.0]


def test_minus_one_may_be_the_ignore_label():
    table = overlap(np.array([-1, 2], np.int16), np.array([1, 1], np.uint8), ignore=-1)
    assert as_counter(table) == {(2, 1): 1}
    assert as_counter(overlap(np.array([255, 2], np.uint8), np.array([1, 1]), ignore=-1)) == {
        (255, 1): 1,
        (2, 1): 1,
    }


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_negative_ids_are_refused(dtype):
    good, bad = np.array([1, 2], dtype), np.array([1, -3], dtype)
    with pytest.raises(DataError, match=r"truth: expected ids .* found the id -3.*ignore"):
        overlap(bad, good)
    with pytest.raises(DataError, match=r"predicted: expected ids .* found the id -3"):
        overlap(good, bad)


def test_other_shapes_and_scores_are_refused():
    with pytest.raises(DataError, match=r"shape of truth \(2, 3\), found \(3, 2\)"):
        overlap(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(DataError, match=r"truth: expected .* whole numbers, found .* float64"):
        overlap(np.zeros(3), np.zeros(3, int))
    with pytest.raises(DataError, match="predicted"):
        overlap(np.zeros(3, int), np.zeros(3))


@pytest.mark.slow
def test_hundred_thousand_objects_need_little_memory():
    side, pitch = 316, 12
    ids = np.arange(1, side**2 + 1, dtype=np.int32).reshape(side, side)
    cell = np.zeros((pitch, pitch), np.int32)
    cell[1:-1, 1:-1] = 1
    truth = np.kron(ids, cell)
    predicted = np.roll(truth, (1, 2), (0, 1))
    evaluate_pair(truth[:50, :50], predicted[:50, :50], INSTANCE)
    tracemalloc.start()
    values = evaluate_pair(truth, predicted, INSTANCE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A pair shares 9 x 8 of 10 x 10 voxels
    assert values["f1@0.5"] == pytest.approx(1 - 1 / side, abs=0.01)
    assert values["sq"] == pytest.approx(72 / 128, abs=1e-3)
    # A dense table would take 80 GB
    assert peak < 100e6
