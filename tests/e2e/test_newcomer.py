"""A newcomer's way: a folder of images, labels for some, and no setting about the data."""

from __future__ import annotations

import json

import pytest

from unmask.checkpoint import load_model
from unmask.phantoms.cells import write_set

# Only what makes the test short: a small network and few updates.
SHORT = ["model.backbone.width=4", "model.backbone.depth=2", "data.crop=[32, 32]",
         "train.steps=4", "train.batch_size=1", "train.validate_every=2", "train.save_every=2",
         "train.precision='32'", "train.workers=0"]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    made = write_set(tmp_path / "set", kind="nuclei", shape=(64, 64), count=5, seed=3)
    for path in sorted((made / "labels").iterdir())[3:]:
        path.unlink()
    return made


def test_from_a_folder_to_masks_without_choosing(folder, tmp_path, command):
    images, run, out = folder / "images", tmp_path / "run", tmp_path / "masks"
    short = [part for line in SHORT for part in ("--set", line)]
    done = command("check", folder, *short)
    assert done.code == 0
    assert "3 of 5 images have labels" in done.out
    assert "Forecast" in done.out
    # Images and labels are found in the folder.
    done = command("train", folder, "--out", run, "--folds", "3", *short)
    assert done.code == 0, done.err
    assert "task = flows" in done.err
    assert "Held out: each labeled image once, in 3 folds" in done.err
    assert "f1@0.5" in done.out
    scores = json.loads((run / "held_out" / "scores.json").read_text())
    assert len(scores["images"]) == 3
    card = load_model(run).card
    assert card["held_out"]["images"] == 3
    done = command("predict", images, "--model", run, "--out", out)
    assert done.code == 0, done.err
    assert len(list(out.glob("*.tif*"))) == 5
    truth = folder / "labels"
    report = tmp_path / "report.json"
    done = command("evaluate", "--truth", truth, "--predicted", out, "--out", report)
    assert done.code == 0, done.err
    assert len(json.loads(report.read_text())["images"]) == 3
