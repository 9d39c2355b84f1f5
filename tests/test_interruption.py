"""A request to end that was lost on the way still ends a training."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from unmask import interruption
from unmask.errors import Interrupted
from unmask.interruption import Terminated, drop_notes, note_kept
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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(), Interrupted(3, 130)])
def test_an_end_carries_what_is_kept_from_the_whole_to_its_parts(error):
    with (
        pytest.raises(type(error)) as found,
        note_kept(lambda: "1 of 2 images is finished."),
        note_kept(lambda: ""),
        note_kept(lambda: "b.tif: 3 of 4 blocks are finished."),
    ):
        raise error
    notes = interruption.notes_of(found.value)
    assert notes == "1 of 2 images is finished. b.tif: 3 of 4 blocks are finished."


def test_work_that_is_not_resumed_leaves_no_notes():
    with (
        pytest.raises(KeyboardInterrupt) as found,
        note_kept(lambda: "whole"),
        drop_notes(),
        note_kept(lambda: "part"),
    ):
        raise KeyboardInterrupt
    assert interruption.notes_of(found.value) == "whole"


def test_other_errors_get_no_notes():
    with pytest.raises(ValueError, match="odd") as found, note_kept(lambda: "part"):
        raise ValueError("odd")
    assert interruption.notes_of(found.value) == ""


def test_an_error_that_a_library_makes_of_a_signal_gets_them():
    event = threading.Event()
    event.set()
    with (
        pytest.raises(SystemError) as found,
        interruption.stop_on(event),
        note_kept(lambda: "part"),
    ):
        raise SystemError("interrupted import")
    assert interruption.notes_of(found.value) == "part"


def test_a_training_without_a_folder_claims_nothing():
    assert str(Interrupted(3, 130)) == "Interrupted at step 3; saved. Continue with --resume."
    assert str(Interrupted(3, 130, saved=False)) == "Interrupted at step 3; nothing is saved."
