"""The budget of CPU seconds, and the rows of training steps compared with other programs."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """Import a script of the benchmarks, with its neighbors."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in ("bench_training", "training_steps", "training_peers", "cpu_budget", "harness"):
        sys.modules.pop(name, None)


def test_a_training_is_asked_to_end_before_its_cpu_seconds_are_over(script, tmp_path, monkeypatch):
    cpu_budget = script("cpu_budget")
    clock = iter([1.0, 11.0, 21.0, 31.0])
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: signals.append(number))
    (tmp_path / cpu_budget.PLAN).write_text(json.dumps({"limit": 140, "before": 100}))
    budget = cpu_budget.CpuBudget()
    budget.start(SimpleNamespace(folder=tmp_path / "run"))
    budget.log(10, {"loss": 1.0})
    budget.log(20, {"loss": 0.5})
    assert signals == []  # at 121 of 140 seconds, ten more are possible
    budget.log(30, {"loss": 0.4})
    assert signals == [signal.SIGTERM]  # at 131 they would end at 141
    assert [line["cpu"] for line in cpu_budget.read_spent(tmp_path)] == [111, 121, 131]


def found(module, key, *, macs, losses=(1.0, 1.0, 0.5, 0.5)):
    result = module.Found(key)
    marks = [0.0, 5.0, 7.0, 10.0, 12.0, 14.0]
    result.add({"marks": marks, "losses": list(losses), "macs": macs, "once": 0.0})
    return result


def test_rows_of_training_steps_leave_out_the_first_ones(script, monkeypatch):
    module = script("bench_training")

    monkeypatch.setattr(module, "multiplications_per_second", lambda: 12.0)
    mine = {key: found(module, key, macs=4.0) for key in module.NAMES}
    peer = {"peer": found(module, "peer", macs=4.0)}
    asked = SimpleNamespace(batch=2)
    equal, bf16, preset = module._rows(module.CASES["cells"], asked, mine | peer)
    assert equal["ours"] == 2.0
    assert equal["ratio"] == 1.0
    assert equal["floor"] == 3 * 2 * 4 / 12
    assert bf16["floor"] is None
    assert preset["what"].startswith("step of cells, 2 crops 224 x 224")
    alone = next(module._rows(module.CASES["cells"], asked, mine))
    assert alone["peer"] is None


def test_fewer_multiply_adds_than_the_peer_are_refused(script, monkeypatch):
    module = script("bench_training")

    monkeypatch.setattr(module, "multiplications_per_second", lambda: 1.0)
    mine = {key: found(module, key, macs=3.0) for key in module.NAMES}
    mine["peer"] = found(module, "peer", macs=4.0)
    with pytest.raises(SystemExit, match="as many multiply-adds"):
        next(module._rows(module.CASES["cells"], SimpleNamespace(batch=2), mine))


def test_a_run_whose_loss_does_not_fall_has_not_learned(script):
    module = script("bench_training")

    assert found(module, "x", macs=1.0).learned
    assert not found(module, "x", macs=1.0, losses=(1.0, 1.0, 1.0, 1.1)).learned
