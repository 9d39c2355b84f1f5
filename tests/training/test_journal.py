import json
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unmask.training import Journal
from unmask.training.journal import montage


def steps_in(folder):
    return [json.loads(x)["step"] for x in (folder / "journal.jsonl").read_text().splitlines()]


def test_lines_are_json_and_nan_is_null(tmp_path):
    with Journal(tmp_path, steps=3, tensorboard=False, quiet=True) as journal:
        odd = {"x": np.float32("nan"), "y": float("inf")}
        journal.log({"step": 1, "loss": torch.tensor(0.5), **odd})
    assert json.loads((tmp_path / "journal.jsonl").read_text()) == {
        "step": 1,
        "loss": 0.5,
        "x": None,
        "y": None,
    }


def test_a_resumed_journal_has_no_gap_and_no_double(tmp_path):
    with Journal(tmp_path, steps=9, tensorboard=False, quiet=True) as journal:
        for step in range(1, 7):
            journal.log({"step": step})
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')  # a kill in the middle of a line
    with Journal(tmp_path, steps=9, tensorboard=False, quiet=True) as journal:
        journal.resume(4)
        for step in range(5, 10):
            journal.log({"step": step})
    assert steps_in(tmp_path) == list(range(1, 10))


def test_tensorboard_has_scalars_and_pictures(tmp_path):
    with Journal(tmp_path, steps=3, quiet=True) as journal:
        for step in [1, 2]:
            journal.log({"step": step, "loss": 1 / step, "note": "text"})
        journal.picture(2, "crop", torch.rand(2, 1, 4, 6))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert [e.step for e in events.Images("crop")] == [2]
    with Image.open(tmp_path / "pictures" / "step-0000002-crop.png") as picture:
        assert picture.size == (12, 4)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 1, 5), (1, 10)),
        ((6, 3, 4, 5), (4, 20)),
        ((1, 2, 7, 4, 5), (4, 5)),
        ((1, 1, 2, 3, 4, 5), (4, 5)),
    ],
)
def test_pictures_of_any_number_of_axes(shape, size):
    assert montage(torch.rand(shape)).shape == (*size, 3)
    assert montage(torch.zeros(shape)).max() == 0
    assert montage(torch.full(shape, float("nan"))).max() == 0


def test_the_middle_plane_is_shown():
    volume = torch.zeros(1, 1, 5, 2, 2)
    volume[0, 0, 2, 0, 0] = 1
    assert montage(volume)[..., 0].tolist() == [[255, 0], [0, 0]]


def test_batches_below_each_other_share_a_scale():
    rows = montage(torch.zeros(2, 1, 3, 4), torch.full((2, 1, 3, 4), 0.5), torch.ones(2, 1, 3, 4))
    assert rows.shape == (9, 8, 3)
    assert rows[::3, 0, 0].tolist() == [0, 128, 255]


def test_a_deleted_journal_starts_again(tmp_path, capsys):
    """Row 41 of docs/reliability.md."""
    with Journal(tmp_path / "run", steps=9, tensorboard=False) as journal:
        journal.log({"step": 1})
        (tmp_path / "run" / "journal.jsonl").unlink()
        journal.log({"step": 2})
    assert steps_in(tmp_path / "run") == [2]
    assert "cannot" not in capsys.readouterr().err


@pytest.mark.parametrize("events", [True, False])
def test_what_cannot_be_written_is_told_once(tmp_path, capsys, events):
    (tmp_path / "run").write_text("a file where the folder should be")
    with Journal(tmp_path / "run", steps=9, tensorboard=events) as journal:
        for step in range(1, 4):
            journal.log({"step": step, "loss": 1.0})
            journal.picture(step, "crop", torch.rand(1, 1, 4, 4))
    told = capsys.readouterr().err
    assert told.count("journal.jsonl: cannot be written") == 1
    assert told.count("pictures: cannot be written") == 1
    assert told.count("TensorBoard: cannot be written") == events


def test_a_closed_terminal_does_no_harm(tmp_path, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        with Journal(tmp_path, steps=9, tensorboard=False) as journal:
            for step in range(1, 4):
                journal.say("x")
                journal.log({"step": step, "validation/x": 1.0})
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            broken.close()
    assert steps_in(tmp_path) == [1, 2, 3]


def test_lines_elsewhere_and_a_bar_on_a_terminal(tmp_path, capsys, monkeypatch):
    with Journal(None, steps=3, tensorboard=False) as journal:
        journal.resume(0)
        for step in [1, 2, 3]:
            journal.log({"step": step, "loss": 0.12345})
    told = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in told] == [
        ["step 1/3", "loss 0.1235"],
        ["step 3/3", "loss 0.1235"],
    ]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Journal(None, steps=3, tensorboard=False) as journal:
        journal.resume(0)
        journal.log({"step": 1, "loss": 0.5})
        journal.progress(2)
        journal.say("[a] sentence")
    told = capsys.readouterr().err
    assert "2/3" in told
    assert "[a] sentence" in told
