"""Training with folds: every image is judged once, and a run resumes at any place."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import unmask
from unmask.api import held_out
from unmask.api.learning import train
from unmask.checkpoint import load_model
from unmask.crossvalidation import tuning
from unmask.crossvalidation.record import HeldOutScores, load_scores
from unmask.crossvalidation.updates import Curve, choose_updates
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.io import open_labels, save_image
from unmask.recipe import load
from unmask.tasks.semantic import Semantic
from unmask.training import loop

PRESETS = {2: "cells", 3: "cells3d"}


class Killed(BaseException):
    """The process ends here."""


def scores_of(folder) -> HeldOutScores:
    scores = load_scores(folder)
    assert scores is not None
    return scores


@pytest.fixture(scope="module", autouse=True)
def few_trials():
    """Enough to compare; the number is decided elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "_TRIALS", 8)
        yield


@pytest.fixture(scope="module")
def args(phantoms, tiny):
    """Arguments of a training with two folds: ``args(ndim, out, *settings)``."""

    def given(ndim, out, *more, labels="labels", preset=None):
        lines = [*tiny(ndim, steps=4)[1::2], "train.validate_every=2", "train.save_every=2"]
        lines += ["train.folds=2", "train.workers=0", "train.warmup=1", "train.lr=0.01"]
        folder = phantoms[ndim]
        return {
            "recipe": preset or PRESETS[ndim],
            "images": folder / "images",
            "labels": folder / labels,
            "out": out,
            "settings": [*lines, *more],
        }

    return given


@pytest.fixture(scope="module")
def finished(args, tmp_path_factory):
    """By number of axes: a run with folds that was never interrupted."""
    runs = {}
    for ndim in PRESETS:
        folder = tmp_path_factory.mktemp("finished")
        runs[ndim] = train(**args(ndim, folder / "run"))
    return runs


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_image_is_held_out_once(finished, phantoms, ndim):
    run = finished[ndim]
    scores = scores_of(run.folder)
    names = sorted(path.stem.split(".")[0] for path in (phantoms[ndim] / "images").iterdir())
    assert sorted(row["name"] for row in scores.images) == names
    assert {row["fold"] for row in scores.images} == {1, 2}
    mean = np.mean([row["f1@0.5"] for row in scores.images])
    assert scores.metrics["f1@0.5"] == pytest.approx(mean)
    card = load_model(run.model).card
    assert card["metrics"] == pytest.approx(scores.expected)
    assert dict(run.metrics) == pytest.approx(scores.expected)
    assert card["held_out"]["folds"] == 2
    assert sorted(card["data"]) == sorted(json.loads((run.folder / "data.json").read_text()))
    # The model of a fold predicts what was written for the images that it has not seen.
    for row in scores.images:
        image = next((phantoms[ndim] / "images").glob(f"{row['name']}.*"))
        found = unmask.predict(run.folder / "folds" / str(row["fold"]), image).labels
        kept = open_labels(run.folder / "held_out" / "labels" / f"{row['name']}.tif").read()[0]
        np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("ndim", [2, 3])
def test_all_trainings_start_from_the_weights_that_were_asked_for(finished, args, tmp_path, ndim):
    start = finished[ndim].model
    still = args(ndim, tmp_path / "run", "train.lr=1e-12")
    run = train(**still, init=start)
    wanted = load_model(start).weights
    learned = [name for name in wanted if name.endswith("weight")]
    for folder in (run.folder / "folds" / "1", run.folder / "folds" / "2", run.folder):
        found = load_model(folder)
        assert found.card["start"]["model"] == str(start)
        for name in learned:
            assert torch.allclose(found.weights[name], wanted[name], atol=1e-4), name


@pytest.mark.parametrize(("before", "words"), [(0.8, "start weights are better"), (0.6, "0.700.")])
def test_scores_before_the_first_update_are_compared(before, words):
    curve = Curve((0, 50, 100), ((before, 0.5, 0.7),), (2,))
    assert choose_updates(curve) == 100
    row = {"name": "a", "fold": 1, "dice": 0.7}
    scores = HeldOutScores(2, False, 100, 100, "dice", {"dice": 0.7}, (row, row), curve)
    (line,) = [line for line in scores.describe() if "Before the first update" in line]
    assert f"dice {before:.3f}" in line
    assert words in line


def test_models_of_folds_have_not_seen_what_they_are_judged_on(finished):
    run = finished[2]
    rows = scores_of(run.folder).images
    assert rows
    for row in rows:
        card = load_model(run.folder / "folds" / str(row["fold"])).card
        assert card["data"]
        assert not any(f"/{row['name']}." in source for source in card["data"])


@pytest.mark.parametrize(
    ("ndim", "place", "nth"),
    [(3, "update", 7), (2, "move_to_disk", 2), (2, "update", 11)],
    ids=["in a fold", "while scoring", "in the final training"],
)
def test_a_run_that_was_killed_resumes_exactly(
    finished, args, tmp_path, monkeypatch, ndim, place, nth
):
    module, name = (loop, "apply_update") if place == "update" else (held_out, place)
    plain, calls = getattr(module, name), []

    def ends(*given, **named):
        calls.append(1)
        if len(calls) == nth:
            raise Killed
        return plain(*given, **named)

    monkeypatch.setattr(module, name, ends)
    with pytest.raises(Killed):
        train(**args(ndim, tmp_path / "run"))
    monkeypatch.undo()
    again = train(**args(ndim, tmp_path / "run"), resume=True)
    expected = finished[ndim]
    assert scores_of(again.folder) == scores_of(expected.folder)
    wanted = load_model(expected.model).weights
    found = load_model(again.model).weights
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    # A run that is finished stays as it is, and needs no recipe.
    more = args(ndim, tmp_path / "run") | {"recipe": None, "settings": ()}
    assert dict(train(**more, resume=True).metrics) == dict(expected.metrics)


def test_a_used_folder_is_refused(finished, args, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"folds of an earlier run.*--resume"):
        train(**args(2, finished[2].folder))
    changed = args(2, finished[2].folder, "train.lr=0.02")
    with pytest.raises(CheckpointError, match=r"train\.lr"):
        train(**changed, resume=True)


def test_validation_images_that_are_given_take_the_place_of_folds(args, tmp_path, phantoms, capsys):
    more = {"val_images": phantoms[2] / "images", "val_labels": phantoms[2] / "labels"}
    run = train(**args(2, tmp_path / "run", "train.steps=1"), **more)
    assert "no image is held out in folds" in capsys.readouterr().err
    assert not (run.folder / "folds").exists()
    assert load_scores(run.folder) is None


def test_a_wrong_number_of_folds_is_refused(args, tmp_path):
    with pytest.raises(DataError, match=r"at least as many labeled images, found 5.*--folds 5"):
        train(**args(2, tmp_path / "run", "train.folds=6"))
    with pytest.raises(RecipeError, match="2 or more"):
        train(**args(2, tmp_path / "run", "train.folds=1"))
    with pytest.raises(RecipeError, match="one device"):
        train(**args(2, tmp_path / "run"), devices=2)
    assert not (tmp_path / "run").exists()


def test_classes_of_voxels_have_folds_too(args, tmp_path):
    settings = ["task.classes=2", "train.steps=1"]
    given = args(2, tmp_path / "run", *settings, labels="classes", preset="semantic2d")
    run = train(**given)
    scores = scores_of(run.folder)
    # Five thresholds of the foreground are compared.
    assert scores.tuned is not None
    assert 1 < scores.tuned.trials <= 5
    assert scores.tuned.found >= scores.tuned.before
    assert all(line.startswith("task.threshold=") for line in scores.tuned.settings)
    assert set(run.metrics) == {"dice", "iou", "accuracy"}


def test_classes_of_images_are_judged_together(phantoms, tmp_path, args):
    table = tmp_path / "classes.csv"
    names = sorted(path.stem for path in (phantoms[2] / "images").iterdir())
    lines = [f"{name},{'ab'[number % 2]}" for number, name in enumerate(names)]
    table.write_text("\n".join(["name,class", *lines]) + "\n")
    given = args(2, tmp_path / "run", "task.classes=[a, b]", "train.steps=1", preset="classify2d")
    run = train(**given | {"labels": table})
    scores = scores_of(run.folder)
    assert [row["truth"] in "ab" for row in scores.images] == [True] * 5
    right = np.mean([row["truth"] == row["predicted"] for row in scores.images])
    assert run.metrics["accuracy"] == pytest.approx(right)
    # Each fold trains on both classes.
    assert {row["truth"] for row in scores.images if row["fold"] == 1} == {"a", "b"}


def test_regions_of_a_single_image_are_folds(tmp_path, args, phantoms, capsys):
    image, labels = np.zeros((40, 96), np.float32), np.zeros((40, 96), np.uint16)
    for number, column in enumerate(range(8, 96, 16), 1):
        labels[10:20, column - 4 : column + 4] = number
    image += labels > 0
    for kind, array in (("images", image), ("labels", labels)):
        save_image(tmp_path / kind / "a.tif", array)
    given = {"images": tmp_path / "images", "labels": tmp_path / "labels"}
    run = train(**args(2, tmp_path / "run", "train.folds=3") | given)
    assert "say nothing about other images" in capsys.readouterr().err
    scores = scores_of(run.folder)
    assert scores.regions
    assert [row["name"] for row in scores.images] == ["a_region1", "a_region2", "a_region3"]
    with pytest.raises(DataError, match=r"3 regions of a crop.*--folds 2"):
        train(**args(2, tmp_path / "other", "train.folds=3", "data.crop=[32, 40]") | given)
    tuned = unmask.tune(run.folder, say=lambda _: None, trials=2, **given)
    assert [row["name"] for row in tuned.tuned.images] == [
        "a_region1",
        "a_region2",
        "a_region3",
    ]


def test_tuning_predicts_each_image_by_the_fold_that_held_it_out(
    finished, phantoms, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(finished[2].folder, run)
    before = scores_of(run)
    said = []
    made = unmask.tune(
        run, phantoms[2] / "images", labels=phantoms[2] / "labels", say=said.append, trials=12
    )
    assert "5 of 5 images are predicted by the fold" in said[0]
    # The options of the model were tuned already, on the same predictions.
    name, tuned = before.metric, before.tuned
    assert tuned is not None
    start = before.metrics[name] if not tuned.settings else tuned.found
    assert made.tuned.before == pytest.approx(start)
    assert load_model(run).card["tuned"]["before"] == pytest.approx(start)


def test_tuned_options_are_saved_in_the_model(phantoms, finished, tmp_path, command):
    """Decoding that loses every object is found and repaired, whatever the network is."""
    model, out = finished[3].model, tmp_path / "tuned.safetensors"
    images, labels = phantoms[3] / "images", phantoms[3] / "labels"
    given = ["tune", model, images, "--labels", labels, "--set", "task.min_size=4000"]
    done = command(*given, "--set", "task.max_fraction=1", "--out", out, "--json")
    assert done.code == 0
    record = json.loads(done.out.splitlines()[-1])
    assert "are among those that the model was trained on" in done.err
    assert f"unmask predict IMAGES --model {out} --out LABELS" in done.err
    assert record["after"] >= record["before"] == 0
    card = load_model(out).card
    assert card["tuned"]["settings"] == record["settings"]
    recipe = load_model(model).card["recipe"]
    assert recipe == load_model(model).card["recipe"]
    for line in record["settings"]:
        key, _, value = line.partition("=")
        assert card["recipe"]["task"][key.removeprefix("task.")] == json.loads(value)


def test_a_tuning_that_cannot_be_is_refused(finished, phantoms, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(Semantic, "decoding_choices", lambda _: {})
    images, labels = phantoms[2] / "images", phantoms[2] / "labels"
    with pytest.raises(RecipeError, match=r"--out MODEL"):
        unmask.tune("nuclei", images, labels=labels)
    with pytest.raises(RecipeError, match=r"decoding options.*--scales"):
        unmask.tune(trained[2], images, labels=phantoms[2] / "classes")
    one = next(iter(sorted(images.iterdir())))
    with pytest.raises(RecipeError, match="two labeled images"):
        unmask.tune(finished[2].folder, one, labels=next(iter(sorted(labels.iterdir()))))


def test_the_scale_is_chosen_too(trained, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(Semantic, "decoding_choices", lambda _: {})
    images, classes = phantoms[2] / "images", phantoms[2] / "classes"
    out = tmp_path / "model.safetensors"
    made = unmask.tune(
        trained[2], images, labels=classes, scales=[0.5, 1, 2], out=out, say=lambda _: None
    )
    assert made.tuned.trials == 3
    recipe = load_model(out).card["recipe"]
    assert recipe["infer"]["scale"] in {None, 0.5, 2.0}
    assert (recipe["infer"]["scale"] is None) == (not made.tuned.settings)


def test_a_plan_judges_few_images_by_folds(phantoms, tmp_path):
    folder = phantoms[2]
    made = unmask.plan(folder / "images", labels=folder / "labels")
    assert made.recipe.train.folds == 5
    assert made.recipe.train.steps == 1000
    short = unmask.plan(folder / "images", labels=folder / "labels", settings=["train.steps=20"])
    assert short.recipe.train.folds == 0
    assert short.recipe.data.holdout == 0
    own = unmask.plan(folder / "images", labels=folder / "labels", settings=["train.folds=3"])
    assert own.recipe.train.folds == 3
    assert own.recipe.train.steps == 1500
    assert load("cells").train.folds == 0
