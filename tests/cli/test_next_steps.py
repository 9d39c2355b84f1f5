"""Every verb ends with a command that works, and refuses a request before the work begins."""

from __future__ import annotations

import numpy as np
import pytest

import unmask
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.infer.load import _early_note
from unmask.io import save_image
from unmask.io.paths import list_files
from unmask.lookup import find
from unmask.recipe import load


def write_images(folder, count: int = 3) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.integers(0, 99, (48, 48)).astype(np.uint8)
        save_image(folder / f"{number}.png", image, axes="YX")


def test_more_images_than_there_are(command, tmp_path):
    write_images(tmp_path / "images")
    done = command("select", tmp_path / "images", "--count", 9)
    assert "9 were asked for; there are no more than these 3" in done.out + done.err


def test_sets_say_how_to_go_on(command):
    assert "unmask prepare bbbc039 FILES --out bbbc039/" in command("prepare", "bbbc039").err


def test_the_page_is_not_announced_without_a_folder(command, tmp_path):
    pytest.importorskip("uvicorn")
    done = command("serve", tmp_path / "nothing")
    assert "Open this page" not in done.out + done.err


def test_suffixes_are_listed_only_if_they_help(tmp_path):
    for path, listed in ((tmp_path / "no", False), (tmp_path / "empty", False), (tmp_path, True)):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "notes.txt").write_text("no image")
        with pytest.raises(DataError) as refused:
            list_files(path)
        assert ("Known suffixes" in str(refused.value)) == listed


def test_a_missing_recipe_does_not_list_presets(tmp_path):
    with pytest.raises(RecipeError, match="expected a YAML file") as refused:
        load(tmp_path / "nothing.yaml")
    assert "cells3d" not in str(refused.value)
    with pytest.raises(RecipeError, match=r"cells3d.*Did you mean 'cells'"):
        load("cell")


def test_a_name_that_no_recipe_holds():
    with pytest.raises(RecipeError, match=r"Did you mean 'onnx'\? Correct the name") as refused:
        find("onx", {"onnx": dict}, "--format")
    assert "--set" not in str(refused.value)


@pytest.mark.parametrize("verb", ["train", "pretrain"])
def test_a_used_run_is_refused_before_files_are_read(verb, tmp_path):
    (tmp_path / "run" / "snapshots" / "step-1").mkdir(parents=True)
    recipe = "cells" if verb == "train" else "mae2d"
    with pytest.raises(CheckpointError, match="Continue it with --resume"):
        getattr(unmask, verb)(recipe, images=tmp_path / "nothing", out=tmp_path / "run")


def test_pictures_in_place_of_labels_are_doubted(tmp_path):
    write_images(tmp_path / "images")
    for number in range(3):
        save_image(tmp_path / "truth" / f"{number}.png", np.ones((48, 48), np.uint8), axes="YX")
    report = unmask.evaluate(truth=tmp_path / "truth", predicted=tmp_path / "images")
    assert "0, 1, 2: the values of the prediction change from pixel to pixel, as in a picture" in (
        " ".join(report.settings["notes"])
    )


def test_a_model_of_an_interrupted_training_is_reported(tmp_path):
    recipe = load("cells").with_settings(["train.steps=20"])
    assert _early_note("nuclei", recipe) == []
    for step, count in ((15, 1), (20, 0)):
        (tmp_path / "snapshots" / f"step-{step}").mkdir(parents=True)
        notes = _early_note(tmp_path, recipe)
        assert len(notes) == count
        assert all("update 15 of 20" in note for note in notes)
