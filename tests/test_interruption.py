"""A request to end that was lost on the way still ends a training."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from unmask import interruption
from unmask.training.guard import Stop

PROGRAM = """
import signal
from unmask import interruption
from unmask.training.guard import Stop
interruption.remember()
assert not interruption.is_requested()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass  # as a callback of a compiled library loses it
with Stop() as stop:
    print(interruption.is_requested(), stop.code)
"""


def test_a_lost_request_is_kept_in_mind():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "130"]


def test_an_event_ends_the_work_of_its_thread_alone():
    event = threading.Event()
    seen = []

    def work():
        with interruption.stop_on(event), Stop() as stop:
            seen.append((interruption.is_requested(), stop.code))
            event.set()
            seen.append((interruption.is_requested(), stop.code))
            with pytest.raises(KeyboardInterrupt):
                interruption.check()
        seen.append((interruption.is_requested(), interruption.code()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, 0), (True, 130), (False, 0)]
    assert not interruption.is_requested()


def test_events_are_handed_on_to_other_threads():
    outer, inner, seen = threading.Event(), threading.Event(), []

    def work(name, *, event):
        with interruption.stop_on(event):
            seen.append((name, interruption.is_requested()))

    with interruption.stop_on(outer):
        handed = interruption.hand_on(work)
    for name, event in (("none", None), ("outer", outer), ("inner", inner)):
        for each in (outer, inner):
            each.clear()
        if event is not None:
            event.set()
        thread = threading.Thread(target=handed, args=(name,), kwargs={"event": inner})
        thread.start()
        thread.join()
    assert seen == [("none", False), ("outer", True), ("inner", True)]
