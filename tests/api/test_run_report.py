"""What a training says at its start and its end, and the page in its folder."""

from __future__ import annotations

import json
import math
import re
import shlex

import pytest

from unmask import checkpoint
from unmask.api import own_images, runs
from unmask.api.run_report import resume_command
from unmask.api.validation import HeldOut
from unmask.build import assemble_segmenter, layout
from unmask.data.pairs import open_pairs
from unmask.errors import DataError
from unmask.io import open_image
from unmask.recipe import load
from unmask.training.validation import Validated


def train(command, phantoms, tiny, out, *more, ndim=2, labels="labels", steps=4):
    folder = phantoms[ndim]
    preset = {("labels", 2): "cells", ("labels", 3): "cells3d"}.get(
        (labels, ndim), f"semantic{ndim}d"
    )
    classes = () if labels == "labels" else ("--set", "task.classes=2")
    where = ("--images", folder / "images", "--labels", folder / labels, "--out", out)
    return command(
        "train", "--preset", preset, *where, *tiny(ndim, steps=steps), *classes,
        "--set", "train.folds=0", *more,
    )  # fmt: skip


def held_out(phantoms, ndim, labels="labels"):
    folder = phantoms[ndim]
    every = ("--set", "train.validate_every=1")
    return ("--val-images", folder / "images", "--val-labels", folder / labels, *every)


@pytest.fixture(scope="module", params=[2, 3])
def finished(request, tmp_path_factory, command, phantoms, tiny):
    """A run with held-out images, and what was said."""
    ndim, out = request.param, tmp_path_factory.mktemp("runs") / "mine & yours"
    answer = train(command, phantoms, tiny, out, *held_out(phantoms, ndim), ndim=ndim)
    assert answer.code == 0, answer.err
    return out, answer


def test_the_block_at_the_start(finished):
    out, answer = finished
    images = len(json.loads((out / "data.json").read_text())) // 2
    assert checkpoint.describe_model(out).card["held_out"] == {"images": images}
    titles = ["Images", "Labels", "Network", "Device", "Forecast"]
    lines = [line for line in answer.err.splitlines() if line.split(" ")[0] in titles]
    assert [line.split(" ")[0] for line in lines] == titles
    assert "held out" in lines[0]
    assert "objects" in lines[1]
    assert "parameters" in lines[2]
    assert "float32" in lines[3]


def test_the_verdict_and_commands_that_work(finished, command):
    out, answer = finished
    assert "Best f1@0.5" in answer.err
    assert "Worst held-out images" in answer.err
    lines = [line.strip() for line in answer.err.splitlines() if line.startswith("  unmask ")]
    # The images of the validation lie in the folder of those that were trained on.
    assert (
        "labeled images were used for training, so the next command gives better scores"
        in answer.err
    )
    assert [line.split()[1] for line in lines[:2]] == ["predict", "evaluate"]
    for line in lines[:2]:
        again = command(*shlex.split(line)[1:])
        assert again.code == 0, again.err
    assert out.with_name(f"{out.name}-predicted.html").is_file()


def test_the_page_holds_everything(finished):
    out, _ = finished
    page = (out / "report.html").read_text(encoding="utf-8")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    for title in ("Verdict", "Next commands", "Training", "Curves", "Pictures", "Images", "Recipe",
                  "Held-out predictions during the training", "Origin"):  # fmt: skip
        assert title in titles
    assert any(title.startswith("Scores on") for title in titles)
    assert "training loss" in page
    assert "mine &amp; yours" in page
    links = re.findall(r'(?:src|href|url)[=(]["\']?([^"\'> )]+)', page)
    assert all(link.startswith(("data:", "#")) for link in links)


def test_pictures_during_the_run(finished):
    out, _ = finished
    names = sorted(path.name for path in (out / "pictures").glob("*held-out.png"))
    assert names == [f"step-{n:07d}-held-out.png" for n in range(1, 5)]


def test_classes_are_reported_per_class(tmp_path, command, phantoms, tiny):
    more = held_out(phantoms, 2, "classes")
    answer = train(command, phantoms, tiny, tmp_path / "run", *more, labels="classes")
    assert answer.code == 0, answer.err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Classes</h2>" in page
    assert "<h2>Uncertainty</h2>" in page
    card = checkpoint.load_model(tmp_path / "run").card
    assert set(card["calibration"]) == {"scores", "views"}
    assert card["calibration"]["scores"]["count"] > 1000


def test_a_run_goes_on_for_more_updates(tmp_path, command, phantoms, tiny):
    out = tmp_path / "run"
    answer = train(command, phantoms, tiny, out, "--set", "data.holdout=0")
    assert "Nothing was held out" in answer.err
    assert "label images that it was not trained on and give their folders" in answer.err
    argv = ["images", "--labels", "labels", "--out", str(out), "--resume"]
    kept = (out / "recipe.yaml").read_text(encoding="utf-8")
    fewer = train(command, phantoms, tiny, out, "--set", "data.holdout=0", "--resume", steps=3)
    assert fewer.code == 2
    assert "train.steps" in fewer.err
    assert (out / "recipe.yaml").read_text(encoding="utf-8") == kept
    folder = phantoms[2]
    more = command("train", folder / "images", "--labels", folder / "labels", *argv[3:],
                   "--set", "train.steps=6")  # fmt: skip
    assert more.code == 0, more.err
    steps = [json.loads(line)["step"] for line in (out / "journal.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 6
    assert "steps: 6" in (out / "recipe.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_held_out_images_a_model_is_tried_on_its_own(
    tmp_path, command, phantoms, tiny, monkeypatch, ndim
):
    """Middles of its images are seen as in the training, resized once."""
    seen = []

    def note(recipe, pairs):
        seen.extend(pair.image.shape[1:] for pair in pairs)
        assert recipe.data.scale is None
        return HeldOut(recipe, pairs)

    monkeypatch.setattr(own_images, "HeldOut", note)
    own = ("--set", "data.holdout=0", "--set", "data.scale=0.5", "--init", "none")
    answer = train(command, phantoms, tiny, tmp_path / "run", *own, ndim=ndim)
    assert answer.code == 0, answer.err
    assert "of its own training images the model has f1@0.5 0.0" in answer.err
    assert "it has not learned them yet" in answer.err
    first = open_image(min((phantoms[ndim] / "images").iterdir()), ndim=ndim)
    assert 1 <= len(seen) <= 3
    assert seen[0] == tuple(round(n / 2) for n in first.shape[1:])


@pytest.mark.parametrize(
    ("score", "words"),
    [(0.9, "0.900; new images will score lower."), (0.4, "0.400: it has not"), (math.nan, None)],
)
def test_a_low_score_on_its_own_images_is_a_warning(trained, phantoms, monkeypatch, score, words):
    monkeypatch.setattr(own_images, "HeldOut", lambda *_: lambda _: Validated({"dice": score}))
    recipe = load(str(trained[2] / "recipe.yaml"))
    segmenter = assemble_segmenter(recipe).objective.finished
    pairs = open_pairs(phantoms[2] / "images", phantoms[2] / "classes", layout(recipe))
    text = own_images.judge_own_images(trained[2], segmenter, recipe, pairs)
    assert text is None if words is None else words in text


def test_the_command_that_continues(monkeypatch, tmp_path):
    given = ["unmask", "train", "img", "--preset", "cells", "--set", "train.steps=9", "--out", "r"]
    monkeypatch.setattr("sys.argv", [*given, "--set", "train.lr=0.1", "--resume"])
    assert resume_command(tmp_path, "a", "b", 14) == (
        "unmask train img --preset cells --out r --set train.lr=0.1 --resume --set train.steps=14"
    )


def test_a_failing_report_does_no_harm(tmp_path, command, phantoms, tiny, monkeypatch):
    def fail(_):
        raise DataError("a file has gone")

    monkeypatch.setattr(runs, "write_run_report", fail)
    answer = train(command, phantoms, tiny, tmp_path / "run", steps=1)
    assert answer.code == 0
    assert "not written (a file has gone)" in answer.err
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_pre_training_has_a_report_too(tmp_path, command, phantoms, tiny):
    out = tmp_path / "pre"
    images = phantoms[2] / "images"
    answer = command(
        "pretrain", images, "--preset", "mae2d", *tiny(2, backbone="vit"), "--out", out
    )
    assert answer.code == 0, answer.err
    assert "--init" in (out / "report.html").read_text(encoding="utf-8")
