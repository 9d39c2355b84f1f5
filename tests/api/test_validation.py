"""What a validation measures."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from unmask.api import validation
from unmask.data.pairs import Pair
from unmask.infer.load import load_predictor
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_image, open_labels
from unmask.recipe import load
from unmask.tasks.segmenter import Segmenter


def test_validation_looks_at_one_view(trained, phantoms, monkeypatch):
    seen = []
    make = validation.make_predictor
    monkeypatch.setattr(
        validation, "make_predictor", lambda *given: seen.append(make(*given)) or seen[0]
    )
    (segmenter,) = load_predictor(trained[2]).segmenters
    assert isinstance(segmenter, Segmenter)
    image = open_image(next((phantoms[2] / "images").iterdir()), ndim=2)
    labels = open_labels(phantoms[2] / "classes" / f"{image.name}.tif", ndim=2)
    asked = load(trained[2] / "recipe.yaml").with_settings(
        ["infer.tta=true", "infer.mirror_positions=true", "infer.overlap=0.5"]
    )
    validation.score_pairs(segmenter, asked, [Pair("a", image, labels)])
    assert seen[0].views.flips == ((),)
    assert seen[0].tiling.overlap == 0.5


def test_validation_leaves_ignored_voxels_out(trained, phantoms, monkeypatch):
    """The label value without truth counts neither for nor against."""
    seen: list[object] = []

    def noted(truth, predicted, names, *, spacing, ignore):
        seen.append(ignore)
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(validation, "evaluate_pair", noted)
    predictor = load_predictor(trained[2])
    images = sorted((phantoms[2] / "images").iterdir())[:1]
    labels = sorted((phantoms[2] / "classes").iterdir())[:1]
    pairs = [Pair("a", open_image(images[0]), open_labels(labels[0]))]
    chosen = load(trained[2] / "recipe.yaml").with_settings(["data.ignore_label=7"])
    segmenter = predictor.segmenters[0]
    assert isinstance(segmenter, Segmenter)
    validation.score_pairs(segmenter, chosen, pairs)
    assert seen == [7]


def test_nothing_to_compare_is_undefined_and_not_perfect(trained, monkeypatch):
    """An empty prediction of an empty crop chooses no best model."""
    (segmenter,) = load_predictor(trained[2]).segmenters
    assert isinstance(segmenter, Segmenter)
    empty = Image.from_array(np.zeros((32, 32), np.uint8), ndim=2)
    nothing = SimpleNamespace(labels=np.zeros((32, 32), np.uint8))
    monkeypatch.setattr(Predictor, "predict", lambda *_: nothing)
    chosen = load(trained[2] / "recipe.yaml")
    found = validation.score_pairs(segmenter, chosen, [Pair("a", empty, empty)] * 3)
    assert np.isnan(found["dice"])
    some = Image.from_array(np.eye(32, dtype=np.uint8), ndim=2)
    pairs = [Pair("a", empty, empty), Pair("b", empty, some)]
    assert validation.score_pairs(segmenter, chosen, pairs)["dice"] == 0
