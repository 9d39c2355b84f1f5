"""`unmask train` resumes after kills and signals (rows 2 to 4 of docs/reliability.md)."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from unmask.checkpoint import load_model, load_snapshot

INSTALLED = Path(sys.executable).with_name("unmask")
STEPS = 60
pytestmark = pytest.mark.slow


@pytest.fixture
def request_of(phantoms, tiny):
    """``request_of(folder, workers=...)``: arguments of a training."""
    folder = phantoms[2]

    def arguments(out: Path, *more: str, workers: int = 1) -> list[str]:
        where = ["--images", folder / "images", "--labels", folder / "labels", "--out", out]
        # One thread everywhere: sums of several are rounded differently.
        lines = [f"train.workers={workers}", "train.save_every=5", "train.validate_every=20",
                 "train.threads=1"]  # fmt: skip
        settings = [part for line in lines for part in ("--set", line)]
        given = ["train", "--preset", "cells", *where, *tiny(2, steps=STEPS), *settings, *more]
        return list(map(str, given))

    return arguments


@pytest.fixture
def start(started, request_of):
    """``start(folder, workers=...)``: a training in a process of its own."""

    def run(out: Path, *more: str, workers: int = 1) -> subprocess.Popen[str]:
        return started(str(INSTALLED), *request_of(out, *more, workers=workers))

    return run


def finish(child: subprocess.Popen[str]) -> int:
    _, errors = child.communicate(timeout=600)
    assert "Traceback" not in errors
    assert child.returncode != 2, errors
    return child.returncode


def steps_done(out: Path) -> int:
    """The last step in the journal; 0 where there is none."""
    try:
        return int(json.loads((out / "journal.jsonl").read_text().splitlines()[-1])["step"])
    except (OSError, IndexError, ValueError):
        return 0


def stop(child: subprocess.Popen[str], out: Path, number: signal.Signals, step: int) -> int:
    """Send a signal once the journal has come to ``step``; the exit code."""
    while steps_done(out) < step and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(number)
    return finish(child)


def assert_equal(found: Path, expected: Path) -> None:
    left, right = load_model(found), load_model(expected)
    assert left.weights.keys() == right.weights.keys()
    for name, tensor in right.weights.items():
        assert torch.equal(left.weights[name], tensor), name
    ours, wanted = load_snapshot(found), load_snapshot(expected)
    assert ours is not None
    assert wanted is not None
    assert ours.step == wanted.step == STEPS
    for group, tensors in wanted.tensors.items():
        for name, tensor in tensors.items():
            assert torch.equal(ours.tensors[group][name], tensor), (group, name)
    steps = [
        [json.loads(line)["step"] for line in (run / "journal.jsonl").read_text().splitlines()]
        for run in (found, expected)
    ]
    # No line is missing and none is double; a signal adds the line of the step it was saved at.
    assert steps[0] == sorted(set(steps[0]))
    assert set(steps[1]) <= set(steps[0])


def test_kills_and_signals_change_nothing(start, request_of, command, tmp_path):
    """SIGKILL, SIGTERM, Ctrl-C at random steps; each time other numbers of loader threads."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    answer = command(*request_of(whole, workers=2))
    assert answer.code == 0, answer.err
    draw = random.Random(7)
    first = draw.choice([5, 10])
    assert stop(start(run, workers=0), run, signal.SIGKILL, first) == -signal.SIGKILL
    second = steps_done(run) + 10
    child = start(run, "--resume", workers=2)
    assert stop(child, run, signal.SIGTERM, second) == 143
    saved = load_snapshot(run)
    assert saved is not None
    assert saved.step >= second
    child = start(run, "--resume", workers=1)
    assert stop(child, run, signal.SIGINT, saved.step + 10) == 130
    answer = command(*request_of(run, "--resume", workers=draw.choice([0, 2])))
    assert answer.code == 0, answer.err
    assert_equal(run, whole)


def test_ctrl_c_before_the_first_step(start, tmp_path):
    """While Python still imports, or reads files: 130, and no run that looks finished."""
    child = start(tmp_path / "run")
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=600)
    assert child.returncode in (130, -signal.SIGINT)
    assert not (tmp_path / "run" / "model.safetensors").exists()
