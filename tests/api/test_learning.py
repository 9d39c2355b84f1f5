"""Pairs held out for validation, and what a validation measures."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from unmask.api import learning
from unmask.data.pairs import Pair
from unmask.errors import DataError
from unmask.infer.load import load_predictor
from unmask.io import Image, open_image, open_labels
from unmask.recipe import Recipe, load
from unmask.tasks.segmenter import Segmenter


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


def test_validation_looks_at_one_view(trained, phantoms, monkeypatch):
    seen = []
    make = learning.make_predictor
    monkeypatch.setattr(
        learning, "make_predictor", lambda *given: seen.append(make(*given)) or seen[0]
    )
    (segmenter,) = load_predictor(trained[2]).segmenters
    assert isinstance(segmenter, Segmenter)
    image = open_image(next((phantoms[2] / "images").iterdir()), ndim=2)
    labels = open_labels(phantoms[2] / "classes" / f"{image.name}.tif", ndim=2)
    asked = load(trained[2] / "recipe.yaml").with_settings(
        ["infer.tta=true", "infer.mirror_positions=true", "infer.overlap=0.5"]
    )
    learning._validate(segmenter, asked, [Pair("a", image, labels)])
    assert seen[0].flips == ((),)
    assert seen[0].overlap == 0.5


def test_validation_leaves_ignored_voxels_out(trained, phantoms, monkeypatch):
    """The label value without truth counts neither for nor against."""
    seen: list[object] = []

    def noted(truth, predicted, names, *, spacing, ignore):
        seen.append(ignore)
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(learning, "evaluate_pair", noted)
    predictor = load_predictor(trained[2])
    images = sorted((phantoms[2] / "images").iterdir())[:1]
    labels = sorted((phantoms[2] / "classes").iterdir())[:1]
    pairs = [Pair("a", open_image(images[0]), open_labels(labels[0]))]
    chosen = load(trained[2] / "recipe.yaml").with_settings(["data.ignore_label=7"])
    segmenter = predictor.segmenters[0]
    assert isinstance(segmenter, Segmenter)
    learning._validate(segmenter, chosen, pairs)
    assert seen == [7]


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
