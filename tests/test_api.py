"""The verbs in Python: arrays, paths, reports, held-out images."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from unmask import api
from unmask.data.pairs import Pair
from unmask.errors import DataError
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


def test_public_names():
    for name in unmask.__all__:
        assert getattr(unmask, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = unmask.nothing


@pytest.mark.parametrize("ndim", [2, 3])
def test_arrays_work_where_paths_work(trained, phantoms, ndim):
    path = sorted((phantoms[ndim] / "images").iterdir())[0]
    image = open_image(path)
    array = image.read()
    by_path = unmask.predict(trained[ndim], path)
    assert isinstance(by_path, unmask.Prediction)
    assert by_path.spacing == image.spacing
    assert by_path.scores is None
    for given in (array, array[0], image):
        found = unmask.predict(str(trained[ndim]), given, spacing=image.spacing)
        np.testing.assert_array_equal(found.labels, by_path.labels)
        assert found.spacing == image.spacing


def test_a_model_twice_is_the_model(trained, phantoms):
    path = sorted((phantoms[2] / "images").iterdir())[0]
    alone = unmask.predict(trained[2], path).labels
    np.testing.assert_array_equal(unmask.predict([trained[2]] * 2, path).labels, alone)


def test_settings_reach_the_tiling(trained, phantoms):
    path = sorted((phantoms[2] / "images").iterdir())[0]
    result = unmask.predict(trained[2], path, settings=["infer.tile=[16, 16]", "infer.tta=true"])
    assert result.provenance["tile"] == [16, 16]
    assert len(result.provenance["flips"]) > 1


def test_report_of_the_truth_itself(phantoms):
    labels = phantoms[2] / "labels"
    report = unmask.evaluate(truth=labels, predicted=labels, metrics=["f1@0.5", "aji"])
    assert report.summary["aji"]["mean"] == 1
    assert len(report.images) == 5
    # Without names the metrics follow from what the labels look like: here hardly any objects.
    assert unmask.evaluate(truth=labels, predicted=labels).summary["dice"]["mean"] == 1


def test_truth_without_a_prediction_is_named(phantoms):
    labels = sorted((phantoms[2] / "labels").iterdir())
    with pytest.raises(DataError) as caught:
        unmask.evaluate(truth=labels, predicted=labels[2:])
    assert all(str(path) in str(caught.value) for path in labels[:2])


@pytest.mark.parametrize(
    ("count", "share", "held"), [(4, 0.5, 0), (5, 0.1, 1), (20, 0.1, 2), (20, 0.0, 0), (5, 0.99, 4)]
)
def test_held_out_pairs(count, share, held):
    """Never all of them, never of fewer than five."""
    pairs = some_pairs(count)
    kept, out = api._hold_out(pairs, recipe(f"data.holdout={share}"))
    assert len(out) == held
    assert sorted(pair.name for pair in kept + out) == sorted(pair.name for pair in pairs)
    again = api._hold_out(pairs, recipe(f"data.holdout={share}"))[1]
    assert [pair.name for pair in out] == [pair.name for pair in again]


def test_validation_leaves_ignored_voxels_out(trained, phantoms, monkeypatch):
    """The label value without truth counts neither for nor against."""
    seen: list[object] = []

    def noted(truth, predicted, names, *, spacing, ignore):
        seen.append(ignore)
        return dict.fromkeys(names, 1.0)

    monkeypatch.setattr(api, "evaluate_pair", noted)
    predictor = api.load_predictor(trained[2])
    images = sorted((phantoms[2] / "images").iterdir())[:1]
    labels = sorted((phantoms[2] / "classes").iterdir())[:1]
    pairs = [Pair("a", open_image(images[0]), open_labels(labels[0]))]
    chosen = load(trained[2] / "recipe.yaml").with_settings(["data.ignore_label=7"])
    segmenter = predictor.segmenters[0]
    assert isinstance(segmenter, Segmenter)
    api._validate(segmenter, chosen, pairs)
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
