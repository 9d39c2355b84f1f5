"""Uncertainty of objects that several positions of a stack share."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.infer.plane_numbers import Numbers
from unmask.infer.plane_uncertainty import (
    counts_of,
    join_objects,
    measure_objects,
    note_numbers,
)


def test_an_object_has_the_mean_over_all_of_its_voxels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (3, 8, 9))
    labels[1] = np.where(labels[1] == 2, 0, labels[1])
    doubt = rng.random(labels.shape)
    facts = [
        {"foreground": 5, **measure_objects(*each)} for each in zip(labels, doubt, strict=True)
    ]
    # Objects 1 of the first two positions are one; the last position is too large to be measured.
    numbers = Numbers(np.array([7, 8, 7, 9, 4]), np.array([0, 2, 3, 5]))
    facts[2] = {"foreground": 1}
    note_numbers(facts, numbers)
    found = join_objects(facts)
    assert found.ids.tolist() == [7, 8]
    both = np.concatenate([doubt[0][labels[0] == 1], doubt[1][labels[1] == 1]])
    assert found.values == pytest.approx([both.mean(), doubt[0][labels[0] == 2].mean()], abs=1e-4)
    assert [counts_of(each) for each in facts] == [{"foreground": 5}] * 2 + [{"foreground": 1}]
    assert len(join_objects([{}]).ids) == 0
