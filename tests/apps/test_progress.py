import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from unmask.apps import progress
from unmask.apps.progress import WindowProgress


@pytest.fixture
def clock(monkeypatch):
    """``clock.now`` is the time in seconds."""
    now = SimpleNamespace(now=0.0)
    for name in ("unmask.apps.progress", "unmask.progress"):
        monkeypatch.setattr(f"{name}.time", SimpleNamespace(monotonic=lambda: now.now))
    return now


def shown(terminal):
    text = io.StringIO()
    tell = WindowProgress(Console(file=text, force_terminal=terminal, width=80))
    for done in (1, 2, 3):
        tell(done, 3)
    return text.getvalue()


def lines_of(clock, *steps):
    """Lines of (seconds, windows done, windows in all)."""
    text = io.StringIO()
    tell = WindowProgress(Console(file=text, force_terminal=False, width=80))
    for seconds, done, total in steps:
        clock.now = seconds
        tell(done, total)
    return text.getvalue().splitlines()


def test_a_terminal_gets_a_bar():
    assert "3/3" in shown(terminal=True)


def test_short_work_tells_nothing_elsewhere():
    assert shown(terminal=False) == ""


def test_long_work_tells_lines_elsewhere(monkeypatch, clock):
    monkeypatch.setattr(progress, "_SECONDS", -1.0)
    # The last one is followed by the result, which says that it is done.
    assert shown(terminal=False).splitlines() == ["window 1 of 3", "window 2 of 3  0 s left"]


def test_lines_say_what_is_left(clock):
    found = lines_of(clock, (0, 0, 100), (15, 0, 100), (20, 10, 100), (60, 20, 100))
    assert found == ["window 10 of 100  3 min left", "window 20 of 100  4 min left"]


def test_work_of_an_ended_run_took_no_time_in_this_one(clock):
    """80 windows are there at the start; the 10 after them took 20 s, as the last 10 will."""
    found = lines_of(clock, (0, 80, 100), (20, 90, 100))
    assert found == ["window 90 of 100  20 s left"]


@pytest.mark.parametrize("total", [100, 200])
def test_the_next_image_is_timed_on_its_own(clock, total):
    first = [(second, second, 100) for second in range(0, 101, 20)]
    found = lines_of(clock, *first, (100, 50, total), (300, 60, total))
    seconds = 20 * (total - 60)
    left = f"{seconds / 60:.3g} min"
    assert found[-1] == f"window 60 of {total}  {left} left"


def test_a_bar_estimates_slow_blocks(monkeypatch):
    """Each block takes longer than the half minute that a bar looks back unless told otherwise."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    monkeypatch.setattr(console, "get_time", lambda: now[0])
    tell, now = WindowProgress(console), [0.0]
    for done in (3, 4, 5):
        tell(done, 9)
        now[0] += 60.0
    assert tell._bar is not None
    # Two of six blocks in 120 s; the three before took no time.
    assert tell._bar.tasks[0].time_remaining == 240.0
    tell(9, 9)
