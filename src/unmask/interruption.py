"""Requests to end: Ctrl-C, SIGTERM and the warning that SLURM sends before its time limit.

A process that a shell starts in the background ignores SIGINT, but a training obeys it; the handler
is installed first, so that no request is lost. Inside a callback of a compiled library, or in a
thread, the exception is lost; so the request is also recorded, and long work checks for it. A
program that runs the work in a thread of its own ends it with an event, see ``stop_on``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, ParamSpec, TypeVar

from unmask.errors import DataError, Interrupted

P = ParamSpec("P")
R = TypeVar("R")

_asked = threading.Event()
_codes: list[int] = []
# Holds ``events`` in threads whose work another thread can end.
_work = threading.local()

INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """SIGTERM, or another signal that asks for the end; what is finished has been kept."""


def signals() -> tuple[int, ...]:
    """The signals that ask for the end, as far as this system has them."""
    names = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGBREAK")
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


def remember() -> None:
    """From now on these signals raise ``KeyboardInterrupt`` or ``Terminated``, see ``check``."""
    forget()
    for number in signals():
        signal.signal(number, _note)


def forget() -> None:
    """No request has come."""
    _asked.clear()
    _codes.clear()


@contextmanager
def stop_on(*events: threading.Event) -> Generator[None, None, None]:
    """Inside the ``with`` block, any of the events ends the work of this thread as Ctrl-C would."""
    before = _events()
    _work.events = before + events
    try:
        yield
    finally:
        _work.events = before


def hand_on(work: Callable[P, R]) -> Callable[P, R]:
    """The same work for another thread, where the events of this thread end it as well."""
    events = _events()

    def run(*args: P.args, **options: P.kwargs) -> R:
        with stop_on(*events):
            return work(*args, **options)

    return run


def is_requested() -> bool:
    """Whether a signal came since ``remember``, or an event of this thread is set."""
    return _asked.is_set() or any(event.is_set() for event in _events())


def code() -> int:
    """Exit code that the first signal asks for; 0 where none came."""
    if _codes:
        return _codes[0]
    return INTERRUPTED if is_requested() else 0


def code_of(number: int) -> int:
    """Exit code of a signal: 130 for Ctrl-C, else 143."""
    return INTERRUPTED if number == signal.SIGINT else TERMINATED


def check() -> None:
    """End the work here if a signal came; for threads, which get no signals.

    Raises:
        KeyboardInterrupt: Ctrl-C.
        Terminated: another signal.
    """
    if is_requested():
        _raise(code())


@contextmanager
def note_kept(describe: Callable[[], str]) -> Generator[None, None, None]:
    """Add a note on what is kept to an early end of the ``with`` block.

    That is an end that was asked for, or an error of a file in the middle of the work. The note is
    one of the exception (PEP 678), so Python and the command line show it. Callers note only what
    is kept and found again by a run that resumes.

    Args:
        describe: gives one or more sentences; "" if nothing is kept.
    """
    try:
        yield
    except BaseException as end:
        if _is_early(end) and (text := describe()):
            end.add_note(text)
        raise


@contextmanager
def drop_notes() -> Generator[None, None, None]:
    """Remove such notes from an end of the ``with`` block, whose work no other run resumes."""
    try:
        yield
    except BaseException as end:
        if _is_early(end):
            end.__notes__ = []
        raise


def _is_early(error: BaseException) -> bool:
    """Whether the work can be continued after an error: it was not the request that was wrong."""
    return is_end(error) or isinstance(error, DataError | OSError)


def is_end(error: BaseException) -> bool:
    """Whether an error is an end that was asked for."""
    # Libraries turn a signal during their import into an error of their own.
    return isinstance(error, KeyboardInterrupt | Terminated | Interrupted) or is_requested()


def notes_of(end: BaseException) -> str:
    """What is kept, as sentences; of the whole run first, then of its parts."""
    return " ".join(reversed(getattr(end, "__notes__", ())))


def end_at_once() -> NoReturn:
    """What a second Ctrl-C does. It harms nothing, because every file is written aside."""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nEnded at once.\n")
    os._exit(INTERRUPTED)


def _events() -> tuple[threading.Event, ...]:
    return getattr(_work, "events", ())


def _note(number: int, _frame: FrameType | None) -> None:
    if is_requested():
        if number == signal.SIGINT:
            end_at_once()
        # The end has begun; a scheduler that repeats itself does not disturb it.
        return
    _codes.append(code_of(number))
    _asked.set()
    _raise(code())


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == INTERRUPTED else Terminated
