"""What every metric of objects gives where there is nothing to compare, and its two conventions."""

import numpy as np
import pytest

from unmask.metrics import evaluate_pair

NOTHING = np.zeros((6, 8), np.int32)
THREE = np.kron([[1, 0, 2, 3]], np.ones((6, 2), np.int32)).astype(np.int32)
ONE = np.where(THREE == 1, 1, 0)
RATIOS = (
    "aji",
    "aji_plus",
    "aji_pea",
    "fgbg_dice",
    "f1@0.5",
    "pq",
    "dq",
    "sq",
    "sbd",
    "sbd_max",
    "aji_cellpose",
    "best_dice",
    "ap",
    "dice",
    "iou",
)


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [(NOTHING, NOTHING, np.nan), (THREE, NOTHING, 0), (NOTHING, THREE, 0), (THREE, THREE, 1)],
)
def test_ratios(name, truth, predicted, expected):
    found = evaluate_pair(truth, predicted, [name])[name]
    assert found == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [(NOTHING, NOTHING, 0), (THREE, NOTHING, -3), (NOTHING, THREE, 3), (ONE, THREE, 2)],
)
def test_differences_in_count(truth, predicted, expected):
    found = evaluate_pair(truth, predicted, ["dic", "abs_dic"])
    assert found == {"dic": expected, "abs_dic": abs(expected)}


@pytest.mark.parametrize("name", ["voi", "arand", "arand_cremi", "cremi", "cremi_challenge"])
@pytest.mark.parametrize("predicted", [NOTHING, THREE])
def test_partitions_without_a_true_voxel(name, predicted):
    assert np.isnan(evaluate_pair(NOTHING, predicted, [name])[name])


def test_an_empty_prediction_of_one_object_is_one_segment_too():
    found = evaluate_pair(ONE, NOTHING, ["voi", "arand", "arand_cremi"])
    assert found["voi"] == found["arand"] == 0
    assert found["arand_cremi"] > 0.8  # every voxel is a segment of its own


def test_the_two_conventions_differ_where_the_prediction_has_background():
    predicted = np.where(np.arange(6)[:, None] < 2, 0, THREE)
    found = evaluate_pair(
        THREE, predicted, ["voi", "arand", "arand_cremi", "cremi", "cremi_challenge"]
    )
    assert found["arand_cremi"] != pytest.approx(found["arand"], abs=0.01)
    for score, error in (("cremi", "arand"), ("cremi_challenge", "arand_cremi")):
        assert found[score] == pytest.approx(np.sqrt(found["voi"] * found[error]))


def test_whole_agreement_in_both_conventions():
    found = evaluate_pair(THREE, THREE + 4, ["arand"])
    assert found["arand"] == 0
    # Every voxel of a segment is a pair with itself in this convention
    assert evaluate_pair(THREE, THREE, ["arand_cremi"])["arand_cremi"] == pytest.approx(0, abs=1e-9)
