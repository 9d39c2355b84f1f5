"""Overlapped work on files: what runs meanwhile, the order of outcomes, errors and memory.

The stages are fakes that wait for each other, so nothing here depends on the speed of the machine.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from unmask.api import overlap as module
from unmask.api.overlap import Stages, overlap
from unmask.errors import DataError

WAIT = 30.0


class Log:
    """What happened, in order, and events that other stages wait for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: dict[str, threading.Event] = {}
        self.lock = threading.Lock()

    def event(self, name: str) -> threading.Event:
        with self.lock:
            return self.events.setdefault(name, threading.Event())

    def note(self, name: str) -> None:
        self.lines.append(name)
        self.event(name).set()

    def stages(self, number: int, *, waits: dict[str, str] | None = None, **given) -> Stages:
        waits = waits or {}

        def run(stage: str):
            def work(value=None):
                self.note(f"{stage} {number}")
                if stage in waits:
                    assert self.event(waits[stage]).wait(WAIT), waits[stage]
                return number

            return work

        return Stages(run("read"), run("compute"), run("finish"), **given)


def fail(_=None):
    raise DataError("is wrong.")


def test_the_three_stages_run_at_the_same_time():
    log = Log()
    jobs = [
        (0, log.stages(0, waits={"compute": "read 1", "finish": "compute 1"})),
        (1, log.stages(1, waits={"compute": "read 2", "finish": "compute 2"})),
        (2, log.stages(2)),
    ]
    outcomes = list(overlap(jobs, stop=True))
    assert [(each.key, each.result, each.error) for each in outcomes] == [
        (0, 0, None), (1, 1, None), (2, 2, None),
    ]  # fmt: skip


def test_a_slow_file_does_not_hold_up_the_network():
    log = Log()
    jobs = [(0, log.stages(0, waits={"finish": "compute 3"}))]
    jobs += [(number, log.stages(number)) for number in (1, 2, 3)]
    assert [each.key for each in overlap(jobs, stop=True)] == [0, 1, 2, 3]


def test_reading_is_not_far_ahead_and_few_files_are_in_work():
    log = Log()
    jobs = [(number, log.stages(number)) for number in range(30)]
    given = 0

    def asked():
        nonlocal given
        for job in jobs:
            given += 1
            yield job

    for done, _ in enumerate(overlap(asked(), stop=True)):
        assert given - done <= module._MOST + 1


@pytest.mark.parametrize("given", [{"alone": True}, {"size": module._BUDGET}])
def test_what_needs_all_memory_is_alone(given):
    log = Log()
    jobs = [(0, log.stages(0, size=1)), (1, log.stages(1, **given)), (2, log.stages(2, size=1))]
    list(overlap(jobs, stop=True))
    alone = log.lines.index("read 1")
    assert log.lines[alone:][:3] == ["read 1", "compute 1", "finish 1"]
    assert "finish 0" in log.lines[:alone]


@pytest.mark.parametrize("stage", ["read", "compute", "finish"])
def test_nothing_is_written_after_an_error(stage):
    log = Log()
    wrong = log.stages(1)
    jobs = [(0, log.stages(0)), (1, replace(wrong, **{stage: fail}))]
    jobs += [(number, log.stages(number)) for number in (2, 3, 4)]
    outcomes = list(overlap(jobs, stop=True))
    assert [each.key for each in outcomes] == [0, 1]
    assert isinstance(outcomes[1].error, DataError)
    assert not {"finish 2", "finish 3", "finish 4"} & {*log.lines}


@pytest.mark.parametrize("stage", ["read", "compute", "finish"])
def test_a_wrong_file_is_left_out(stage):
    log = Log()
    wrong = log.stages(1)
    jobs = [(0, log.stages(0)), (1, replace(wrong, **{stage: fail})), (2, log.stages(2))]
    outcomes = list(overlap(jobs, stop=False))
    assert [each.result for each in outcomes] == [0, None, 2]


def test_an_error_of_the_program_ends_the_run_in_any_case():
    log = Log()

    def broken(_):
        raise ZeroDivisionError

    jobs = [(0, log.stages(0)), (1, Stages(lambda: 1, broken, fail)), (2, log.stages(2))]
    outcomes = list(overlap(jobs, stop=False))
    assert isinstance(outcomes[-1].error, ZeroDivisionError)
    assert "finish 2" not in log.lines


def test_an_interruption_completes_the_file_in_work_and_no_other():
    log = Log()

    def interrupted(_):
        assert log.event("finish 0").wait(WAIT)
        raise KeyboardInterrupt

    jobs = [(0, log.stages(0)), (1, Stages(lambda: 1, interrupted, fail)), (2, log.stages(2))]
    with pytest.raises(KeyboardInterrupt):
        list(overlap(jobs, stop=True))
    assert "compute 2" not in log.lines
    names = {thread.name for thread in threading.enumerate()}
    assert not [name for name in names if name.startswith(("unmask-file", "unmask-finish"))]


def test_work_that_is_not_divided():
    outcomes = list(overlap([("a", Stages.of(lambda: 5))], stop=True))
    assert [(each.key, each.result) for each in outcomes] == [("a", 5)]
    assert Stages(lambda: 1, lambda x: x + 1, lambda x: 2 * x).run() == 4
