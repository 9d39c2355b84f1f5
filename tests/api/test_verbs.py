"""The verbs in Python: arrays, paths, reports, held-out images."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

import unmask
from unmask.api import prediction
from unmask.build import build_task
from unmask.errors import DataError, RecipeError
from unmask.infer.load import _change_recipe
from unmask.infer.predictor import Predictor
from unmask.io import open_image, save_image
from unmask.recipe import load as load_recipe
from unmask.space.tiling import Tiling
from unmask.tasks.flows import Flows


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
    assert by_path.scores is not None
    assert by_path.scores.shape[1:] == by_path.labels.shape
    assert by_path.labels.dtype.kind == "u"
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


def test_report_of_a_copy_of_the_truth(phantoms, tmp_path):
    labels = phantoms[2] / "labels"
    copy = shutil.copytree(labels, tmp_path / "copy")
    report = unmask.evaluate(truth=labels, predicted=copy, metrics=["f1@0.5", "aji"])
    assert report.summary["aji"]["mean"] == 1
    assert len(report.images) == 5
    # Without names the metrics follow from what the labels look like: here hardly any objects.
    assert unmask.evaluate(truth=labels, predicted=copy).summary["dice"]["mean"] == 1
    # The truth against itself is a usual check of a report, with a note that says so.
    same = unmask.evaluate(truth=labels, predicted=labels)
    assert same.summary == unmask.evaluate(truth=labels, predicted=copy).summary
    (note,) = (note for note in same.settings["notes"] if "compared with itself" in note)
    assert note.startswith("5 files: ")


def test_a_star_stands_for_every_class(tmp_path):
    labels = np.zeros((2, 8, 8), np.uint8)
    labels[0, :3], labels[1, 5:] = 1, 7
    for number, each in enumerate(labels):
        save_image(tmp_path / "t" / f"{number}.tif", each)
        save_image(tmp_path / "p" / f"{number}.tif", each)
    given = {"truth": tmp_path / "t", "predicted": tmp_path / "p"}
    report = unmask.evaluate(**given, metrics=["dice/*", "iou"])
    assert {name for name in report.images[0] if name != "name"} == {"dice/1", "dice/7", "iou"}
    assert report.summary["dice/7"]["mean"] == 1
    with pytest.raises(RecipeError, match="dise"):
        unmask.evaluate(**given, metrics=["dise/*"])


def test_truth_without_a_prediction_is_named(phantoms, tmp_path):
    labels = sorted((phantoms[2] / "labels").iterdir())
    copies = sorted(shutil.copytree(phantoms[2] / "labels", tmp_path / "copy").iterdir())
    with pytest.raises(DataError) as caught:
        unmask.evaluate(truth=labels, predicted=copies[2:])
    assert all(str(path) in str(caught.value) for path in labels[:2])


def test_a_prediction_elsewhere_than_the_truth_is_named(tmp_path):
    labels = np.ones((3, 4, 5), np.uint8)
    save_image(tmp_path / "truth.nii", labels, spacing=(1, 1, 1))
    save_image(tmp_path / "predicted.nii", labels, spacing=(1, 2, 1))
    with pytest.raises(DataError, match=r"predicted\.nii: expected the affine of .*truth\.nii"):
        unmask.evaluate(
            truth=tmp_path / "truth.nii",
            predicted=tmp_path / "predicted.nii",
            settings=["data.image_suffix=predicted", "data.label_suffix=truth"],
        )


class OneCell(torch.nn.Module):
    """Says of every window that one cell fills it."""

    def logits(self, image):
        whole = np.ones(image.shape[2:], np.int32)
        values = torch.from_numpy(Flows(2).encode(whole, None).values)
        values[:-1] *= Flows(2).flow_scale
        return values.expand(len(image), -1, -1, -1)


@pytest.mark.parametrize("block", [None, (40, 44)])
def test_a_cell_over_the_whole_image_is_told(command, tmp_path, monkeypatch, block):
    def loaded(model, settings, **_):
        task = build_task(load_recipe("cells").with_settings(settings))
        size = (40, 44)
        return Predictor([OneCell()], task, 1, Tiling(size), precision="32", block=block)

    monkeypatch.setattr(prediction, "load_predictor", loaded)
    for name in "ab":
        save_image(tmp_path / f"{name}.png", np.arange(1760, dtype=np.uint16).reshape(40, 44))
    given = ("predict", "--model", "m", tmp_path / "a.png", tmp_path / "b.png", "--out")
    answer = command(*given, tmp_path / "out")
    assert answer.code == 0, answer.err
    assert not open_image(tmp_path / "out" / "a.tif").read().any()
    # One note for all images of a run, with the reason for the worst of them.
    notes = [line for line in answer.out.splitlines() if "dropped" in line]
    assert "in 2 of 2 images more than 5 % of the foreground was dropped: " in notes[0]
    assert "a.png (100 %), b.png (100 %)" in notes[0]
    assert notes[1].startswith(f"{tmp_path / 'a.png'}: foreground of 1,760 pixels dropped")
    assert "1 object larger than 40% of the image" in notes[1]
    assert len(notes) == 2
    for changed in (False, True):
        if changed:
            (tmp_path / "out" / "a.tif").unlink()
        again = command(*given, tmp_path / "out", "--resume")
        assert again.out.count("(finished before)") == 2 - changed
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "b.tif"]
    alone = command("predict", "--model", "m", tmp_path / "a.png", "--out", tmp_path / "alone")
    assert f"{tmp_path / 'a.png'}: foreground of 1,760 pixels dropped" in alone.out
    answer = command(*given, tmp_path / "kept", "--set", "task.max_fraction=1.0")
    assert answer.code == 0, answer.err
    assert "larger" not in answer.out
    assert open_image(tmp_path / "kept" / "a.tif").read().max() == 1


def test_prediction_takes_options_of_decoding():
    recipe = load_recipe("cells")
    _, task = _change_recipe(recipe, ["task.max_fraction=1.0"], build_task(recipe))
    assert "max_fraction=1.0" in repr(task)
