"""The number of threads is measured on a busy machine only, and kept by a resumed run."""

from __future__ import annotations

import pytest
import torch

from unmask.recipe import load
from unmask.training import threads
from unmask.training.precision import Measured
from unmask.training.threads import (
    describe_threads,
    keep_threads,
    kept_threads,
    measure_threads,
    note_threads,
    use_threads,
)
from unmask.training.timing import Timing


@pytest.fixture(autouse=True)
def four_threads():
    with use_threads(4):
        yield


def timing(seconds, busy=1.0):
    return Timing(seconds / busy, 1000, None, torch.device("cpu"), busy)


def measure(seconds, *, busy=2.0, settings=()):
    """The result, and the numbers of threads that were timed."""
    seen = []

    def time_updates(pairs, recipe, *, updates):
        seen.append(torch.get_num_threads())
        return timing(seconds[torch.get_num_threads()])

    recipe = load("cells").with_settings(["train.precision='32'", *settings])
    measured = Measured(recipe, {"32": timing(seconds[4], busy)})
    return measure_threads([], measured, time_updates=time_updates), seen


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({4: 1.9, 2: 0.9, 1: 0.6}, 1),
        ({4: 1.9, 2: 0.5, 1: 0.6}, 2),
        ({4: 1.0, 2: 0.9, 1: 1.5}, "auto"),
    ],
)
def test_the_fastest_number_is_taken(seconds, chosen):
    found, seen = measure(seconds)
    assert found.used_threads == chosen
    # A recipe is used on other machines too.
    assert found.recipe.train.threads == "auto"
    assert seen == [2, 1]
    assert dict(found.threads) == pytest.approx(seconds)
    assert found.timing is not None
    assert found.timing.wall == pytest.approx(seconds[4 if chosen == "auto" else chosen])
    assert torch.get_num_threads() == 4


def test_an_idle_machine_is_not_measured():
    found, seen = measure({4: 1.0}, busy=1.1)
    assert (found.used_threads, seen, found.threads) == ("auto", [], {})


def test_a_number_that_was_asked_for_is_not_compared():
    found, seen = measure({4: 1.0}, settings=["train.threads=2"])
    assert (found.used_threads, seen) == (2, [])


def test_the_load_decides_where_waiting_times_are_unknown(monkeypatch):
    monkeypatch.setattr(threads, "waiting_times", lambda: None)
    for load_average, busy in ((0.5, False), (1e3, True)):
        monkeypatch.setattr(threads.os, "getloadavg", lambda x=load_average: (x, x, x))
        assert threads.is_busy(timing(1.0)) == busy


def test_a_resumed_run_keeps_its_threads(tmp_path):
    assert kept_threads(tmp_path) is None
    note_threads(tmp_path, Measured(load("cells"), {}, fastest=3))
    assert kept_threads(tmp_path) == 3
    note_threads(tmp_path, Measured(load("cells"), {}))
    assert kept_threads(tmp_path) is None
    (tmp_path / "threads.json").write_text("[", encoding="utf-8")
    assert kept_threads(tmp_path) is None


def test_a_run_of_an_earlier_version_keeps_its_threads(tmp_path):
    recipe = load("cells")
    assert keep_threads(recipe, tmp_path) == recipe
    written = recipe.with_settings(["train.threads=1"])
    (tmp_path / "recipe.yaml").write_text(written.to_yaml(), encoding="utf-8")
    assert keep_threads(recipe, tmp_path).train.threads == 1
    own = recipe.with_settings(["train.threads=3"])
    assert keep_threads(own, tmp_path) == own


def test_the_start_of_a_run_says_why():
    assert describe_threads(1, {2: 1.9, 1: 0.6}) == "1 thread (0.6 s per update; 2 threads: 1.9 s)"
    assert describe_threads(2, {}) == "2 threads"
