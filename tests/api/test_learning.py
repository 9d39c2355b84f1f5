"""Pairs held out for validation."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from unmask.api import learning
from unmask.data.pairs import Pair
from unmask.errors import DataError
from unmask.io import Image
from unmask.recipe import Recipe, load


def some_pairs(count: int) -> list[Pair]:
    array = np.zeros((4, 4), np.uint8)
    return [
        Pair(str(number), Image.from_array(array, name=str(number), ndim=2))
        for number in range(count)
    ]


def recipe(*settings: str) -> Recipe:
    return load("cells").with_settings(settings)


@pytest.mark.parametrize(
    ("count", "share", "held"), [(4, 0.5, 0), (5, 0.1, 1), (20, 0.1, 2), (20, 0.0, 0), (5, 0.99, 4)]
)
def test_held_out_pairs(count, share, held):
    """Never all of them, never of fewer than five."""
    pairs = some_pairs(count)
    kept, out = learning._hold_out(pairs, recipe(f"data.holdout={share}"))
    assert len(out) == held
    assert sorted(pair.name for pair in kept + out) == sorted(pair.name for pair in pairs)
    again = learning._hold_out(pairs, recipe(f"data.holdout={share}"))[1]
    assert [pair.name for pair in out] == [pair.name for pair in again]


def test_one_half_of_a_validation_is_refused(phantoms, tmp_path, tiny):
    folder = phantoms[2]
    with pytest.raises(DataError, match="images and labels"):
        unmask.train(
            "semantic2d",
            images=folder / "images",
            labels=folder / "classes",
            out=tmp_path / "run",
            val_images=folder / "images",
            settings=tiny(2)[1::2],
        )
    assert not (tmp_path / "run").exists()
