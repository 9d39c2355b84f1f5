"""Clocks that jump: the order of snapshots is that of steps (row 29 of docs/reliability.md)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

from unmask.checkpoint import load_snapshot, save_snapshot

DAY = 86_400


@pytest.fixture(params=["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def save(folder: Path, step: int, when: float) -> None:
    path = save_snapshot(folder, step, {"model": {"w": torch.full((3,), float(step))}}, {})
    for each in [*path.iterdir(), path]:
        os.utime(each, (when, when))


def test_snapshots_are_ordered_by_steps(tmp_path, zone):
    now = time.time()
    save(tmp_path, 9, now + DAY)
    save(tmp_path, 10, now - DAY)
    found = load_snapshot(tmp_path)
    assert found is not None
    assert found.step == 10
    assert (found.tensors["model"]["w"] == 10).all()


def test_a_run_resumes_after_the_clock_went_back(tmp_path, zone):
    """The older snapshots go by their steps too, whatever their times say."""
    now = time.time()
    for number, step in enumerate([2, 4, 6, 8]):
        save(tmp_path, step, now - number * DAY)
    kept = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert kept == ["step-6", "step-8"]
