"""Progress of parts adds up to the progress of the whole."""

from __future__ import annotations

from types import SimpleNamespace

from unmask.progress import BlockProgress, TimeLeft, part_of


def test_a_part_of_several_equal_runs():
    seen: list[tuple[int, int]] = []
    part = part_of(lambda done, total: seen.append((done, total)), 1, 3)
    assert part is not None
    part(2, 5)
    assert seen == [(7, 15)]
    assert part_of(None, 1, 3) is None


def test_blocks_that_advance_in_any_order():
    seen: list[tuple[int, int]] = []
    shown = BlockProgress(
        lambda done, total: seen.append((done, total)), blocks=3, steps=10, finished=1
    )
    shown.advance(2, 5, 10)
    shown.advance(1, 1, 2)
    shown.finish(1)
    shown.finish(2)
    assert seen == [(15, 30), (20, 30), (25, 30), (30, 30)]
    BlockProgress(None, blocks=1, steps=1, finished=0).finish(0)


def test_work_for_all_blocks_goes_on_at_the_same_time():
    seen: list[tuple[int, int]] = []
    shown = BlockProgress(
        lambda done, total: seen.append((done, total)), blocks=2, steps=5, finished=0, shared=10
    )
    shown.advance_shared(20, 40)
    shown.finish(0)
    shown.advance_shared(40, 40)
    shown.finish(1)
    assert seen == [(5, 20), (10, 20), (15, 20), (20, 20)]


def test_the_start_reports_what_an_ended_run_has_finished():
    seen: list[tuple[int, int]] = []
    shown = BlockProgress(
        lambda done, total: seen.append((done, total)), blocks=3, steps=10, finished=2
    )
    shown.start()
    assert seen == [(20, 30)]


def test_time_left_is_that_of_this_run(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("unmask.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    left = TimeLeft(90)
    now[0] = 50.0
    assert left.describe(90, 100) == "", "nothing is done yet"
    assert left.describe(95, 100) == "50 s left"
    assert left.describe(99, 190) == "8.43 min left"
    assert left.describe(100, 100) == ""
