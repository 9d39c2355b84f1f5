"""Every verb ends with a command that works, and refuses a request before the work begins."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

import unmask
from unmask.api.run_report import _after_pretraining
from unmask.cli import app
from unmask.cli.cluster import ClusterOptions, _apply_names
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
    said = done.out + done.err
    assert "9 were asked for; there are only 3 images" in said
    assert f"unmask check {tmp_path / 'images'} --labels LABELS" in said


def test_nothing_is_left_to_choose(command, tmp_path):
    write_images(tmp_path / "images")
    for count in (2, 3):
        save_image(tmp_path / "labels" / f"{count - 1}.png", np.eye(48, dtype=np.uint8), axes="YX")
    labels = tmp_path / "labels"
    some = command("select", tmp_path / "images", "--count", 2, "--labels", labels)
    assert "2 were asked for; only 1 image has no labels" in some.out + some.err
    # The printed commands work when they are pasted.
    assert f"unmask check {tmp_path / 'images'} --labels {labels}\n" in some.out
    assert f"`unmask serve {tmp_path / 'images'}`" in some.out
    save_image(labels / "0.png", np.eye(48, dtype=np.uint8), axes="YX")
    none = command("select", tmp_path / "images", "--count", 2, "--labels", labels)
    assert none.code == 0
    assert f"all images have labels in {labels}," in none.out + none.err
    assert "Next:" not in none.out + none.err


@pytest.mark.parametrize(
    "words",
    [
        ("select", "IMAGES", "--count", 2),
        ("measure", "--labels", "IMAGES"),
        ("evaluate", "--truth", "IMAGES", "--predicted", "IMAGES"),
        ("plan", "IMAGES", "--labels", "IMAGES"),
    ],
)
def test_a_folder_as_output_file_is_refused_before_the_work(words, command, tmp_path):
    """The images are missing, which only a verb that begins to work can notice."""
    out = tmp_path / "out.csv"
    out.mkdir()
    given = [tmp_path / "nothing" if word == "IMAGES" else word for word in words]
    done = command(*given, "--out", out)
    assert done.code == 2
    assert f"{out}: expected the name of a file to write, found a folder. Add" in done.err


def test_drawn_images_can_be_trained_on(command, tmp_path):
    folder = tmp_path / "drawn"
    done = command("synth", "--kind", "nuclei", "--count", 1, "--size", "48,48", "--out", folder)
    assert f"unmask train {folder / 'images'} --labels {folder / 'labels'}" in done.out + done.err


@pytest.mark.parametrize(
    ("seconds", "more", "limited"),
    [
        (9000, [], True),
        (900, [], False),
        (float("nan"), [], False),
        (9000, ["--preset", "cells"], False),
        (9000, ["--set", "train.steps=9"], False),
    ],
)
def test_a_long_training_is_offered_with_a_time_limit(
    seconds, more, limited, command, tmp_path, monkeypatch
):
    pair = SimpleNamespace(labels=True)
    audit = SimpleNamespace(
        pairs=[pair], problems=[], notes=[], forecast={"seconds": seconds, "busy": 1.0}
    )
    monkeypatch.setattr(unmask.api, "check", lambda *_, **__: audit)
    done = command("check", tmp_path, *more)
    assert done.code == 0, done.err
    assert f"unmask train {tmp_path}" in done.out
    end = "--out runs/mine --minutes 30\n"
    assert done.out.endswith(end) == limited


def test_the_command_that_names_clusters_repeats_what_features_depend_on():
    """Centers of other features are refused, so no option may be missing."""
    given = ["v.tif", "--model", "m", "--out", "out", "--classes", "8", "--quality", "draft",
             "--neighborhood", "4", "--rotations", "--common-mean", "--channels", "1",
             "--set", "data.spacing=[4,1,1]"]  # fmt: skip
    first = _read_options(given)
    words = [str(word) for word in _apply_names(first)]
    second = _read_options(words[2:])
    changed = {"out": Path("out-named"), "classes": None, "neighborhood": 4.0,
               "centers": str(Path("out/clusters.safetensors")),
               "names": str(Path("out/names.yaml"))}  # fmt: skip
    assert second == replace(first, **changed)


def _read_options(words: list[str]) -> ClusterOptions:
    context = typer.main.get_command(app).commands["cluster"].make_context("cluster", words)
    known = {field.name for field in fields(ClusterOptions)}
    return ClusterOptions(
        **{name: value for name, value in context.params.items() if name in known}
    )


def test_a_model_of_sections_is_clustered_next():
    recipe = load("maester_small").with_settings(["data.sections=[0]"])
    run: Any = SimpleNamespace(recipe=recipe, folder=Path("runs/m"), pairs=[_pair("v/a.tif")])
    first, second = _after_pretraining(run)
    assert first == "unmask cluster IMAGES --model runs/m --classes 8 --out runs/m-clusters"
    assert second.endswith("--init runs/m --out runs/m-tuned")
    run.recipe = load("mae2d")
    assert len(_after_pretraining(run)) == 1


def _pair(source: str) -> SimpleNamespace:
    return SimpleNamespace(image=SimpleNamespace(source=source))


def test_sets_say_how_to_go_on(command):
    assert "unmask prepare bbbc039 FILES --out bbbc039/" in command("prepare", "bbbc039").err


def test_the_page_is_not_announced_without_a_folder(command, tmp_path):
    pytest.importorskip("uvicorn")
    done = command("serve", tmp_path / "nothing")
    assert "Open this page" not in done.out + done.err


@pytest.mark.parametrize(("options", "words"), [((), "ended, trainings continue"),
                                                (("--demo",), "ended")])  # fmt: skip
def test_the_end_of_a_server_is_no_interruption(options, words, command, tmp_path, monkeypatch):
    """Ctrl-C is the usual end, and serve has no --resume."""

    def interrupt(*_, say, **__):
        say("http://127.0.0.1:1/")
        raise KeyboardInterrupt

    monkeypatch.setattr("unmask.serve.run.serve", interrupt)
    done = command("serve", tmp_path, *options)
    assert done.code == 130
    assert f"The server has {words}." in done.err
    assert "--resume" not in done.err
    assert ("trainings continue:" in done.out) == (not options)


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
