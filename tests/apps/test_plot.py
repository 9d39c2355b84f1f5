"""Runs in one figure, from the command line; wrong requests."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def runs(tmp_path):
    for number, folder in enumerate(("a/scratch", "a/spark", "b/spark")):
        (tmp_path / folder).mkdir(parents=True)
        lines = [{"step": step, "loss": 1 / step + number} for step in (1, 2)]
        if number:
            lines[1]["validation/dice"] = 0.5
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / folder / "journal.jsonl").write_text(text)
    return tmp_path


def test_runs_in_one_figure(runs, command):
    out = runs / "figures" / "curves.svg"
    folders = [runs / name for name in ("a/scratch", "a/spark", "b/spark")]
    answer = command("plot", *folders, f"mine={folders[0]}", "--out", out)
    assert answer.code == 0, answer.err
    text = out.read_text()
    for label in ("scratch", "a/spark", "b/spark", "mine", "training loss", "dice"):
        assert f"<!-- {label} -->" in text
    assert command("plot", folders[0], "--out", runs / "f.png", "--metrics", "loss").code == 0
    assert (runs / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a/scratch", "--out", "f.pdf"], "ends in .png or .svg, found .pdf"),
        (["a", "--out", "f.png"], "expected the journal of a run"),
        (["a/scratch", "a/scratch", "--out", "f.png"], "found 'a/scratch' twice"),
        (["a/spark", "--metrics", "loss,dice", "--out", "f.png"], "found step, loss, validation"),
        (["a/scratch", "--metrics", "validation/dice", "--out", "f.png"], "metrics validation/di"),
    ],
)
def test_wrong_requests(runs, command, monkeypatch, given, words):
    monkeypatch.chdir(runs)
    answer = command("plot", *given)
    assert answer.code == 2
    assert words in answer.err.replace("\n", " ")
    assert not list(runs.glob("f.*"))


def test_a_journal_of_other_content(runs, command):
    (runs / "a" / "spark" / "journal.jsonl").write_text("no line\nof JSON\n")
    answer = command("plot", runs / "a" / "spark", "--out", runs / "f.png")
    assert answer.code == 2
    assert "journal.jsonl: expected the journal of a run" in answer.err
