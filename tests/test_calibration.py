"""From uncertainty to probability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unmask.calibration import Calibration, auroc, fit_calibration


def objects(images, each=60, seed=0):
    """Objects whose chance to be right is known: one minus their uncertainty."""
    rng = np.random.default_rng(seed)
    values = [rng.random(each) for _ in range(images)]
    return values, [rng.random(each) > found for found in values]


def test_known_chances_are_found():
    values, right = objects(40)
    fitted = fit_calibration(values, right)
    assert fitted is not None
    for doubt in (0.2, 0.5, 0.8):
        assert fitted.probability(doubt) == pytest.approx(1 - doubt, abs=0.08)
    assert fitted.error < 0.06
    assert 0.75 < fitted.auroc < 0.9
    assert sum(count for *_, count in fitted.bins) == fitted.count == 2400


def test_doubt_never_makes_an_object_better():
    values, right = objects(3)
    fitted = fit_calibration(values, [~each for each in right])
    assert fitted is not None
    assert fitted.slope == 0


@pytest.mark.parametrize("good", [True, False])
def test_one_side_alone_is_not_certain(good):
    fitted = fit_calibration([np.array([0.1, 0.3])], [np.array([good, good])])
    assert fitted is not None
    assert 0.05 < fitted.probability(0.2) < 0.95
    assert math.isnan(fitted.auroc)


def test_perfect_ranking_stays_finite():
    fitted = fit_calibration([np.array([0.1, 0.2, 0.8, 0.9])], [np.array([1, 1, 0, 0], bool)])
    assert fitted is not None
    assert np.isfinite([fitted.offset, fitted.slope]).all()
    assert fitted.auroc == 1


def test_nothing_to_fit():
    assert fit_calibration([], []) is None
    assert fit_calibration([np.zeros(0)], [np.zeros(0, bool)]) is None


def test_ties_count_half():
    assert auroc(np.zeros(4), np.array([True, False, True, False])) == 0.5


def test_a_card_brings_it_back():
    values, right = objects(6)
    fitted = fit_calibration(values, right)
    assert fitted is not None
    read = Calibration.of_card(fitted.to_card())
    assert read is not None
    assert read.probability(0.3) == pytest.approx(fitted.probability(0.3), abs=1e-4)
    for wrong in (None, 3, {}, {"offset": "x", "slope": 1}, {"offset": math.nan, "slope": 1.0}):
        assert Calibration.of_card(wrong) is None
