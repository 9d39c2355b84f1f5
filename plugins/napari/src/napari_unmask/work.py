"""Run work in a worker thread of napari, with progress, cancel and errors as messages."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, Signal

from unmask import interruption
from unmask.errors import Interrupted, UnmaskError


@dataclass(frozen=True)
class Report:
    """What work gets to say how far it is; safe in every thread.

    Attributes:
        progress: takes (steps done, steps in all).
        say: takes a line for the user.
    """

    progress: Callable[[int, int], None]
    say: Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How work ended.

    Attributes:
        value: its result, if it is done.
        error: what is wrong, for the user; "": nothing.
        cancelled: whether the user ended it.
    """

    value: Any = None
    error: str = ""
    cancelled: bool = False


class _Request(threading.Event):
    """Set by the user, or by napari when its window is closed."""

    worker: FunctionWorker | None = None

    def is_set(self) -> bool:
        """Whether the work has to end."""
        closed = self.worker is not None and self.worker.abort_requested
        return closed or super().is_set()


class Job(QObject):
    """One piece of work at a time.

    Signals:
        progressed: (steps done, steps in all).
        said: a line for the user.
        ended: the `Outcome`.
    """

    progressed = Signal(int, int)
    said = Signal(str)
    ended = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._request = _Request()
        self._worker: FunctionWorker | None = None

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        return self._worker is not None

    def start(self, work: Callable[[Report], Any]) -> None:
        """Start ``work``; `ended` follows in the thread of the window."""
        request, relay = _Request(), _Relay()
        # The window may be closed during the work.
        self.destroyed.connect(request.set)
        relay.progressed.connect(self.progressed)
        relay.said.connect(self.said)
        worker = create_worker(run, work, request, relay, _start_thread=False)
        request.worker = worker
        self._request, self._worker = request, worker
        worker.returned.connect(self._end)
        worker.start()

    def cancel(self) -> None:
        """Ask the work to end at its next step."""
        self._request.set()

    def _end(self, outcome: Outcome) -> None:
        self._worker = None
        self.ended.emit(outcome)


class _Relay(QObject):
    """Signals that outlive the window, because the work may outlive it too."""

    progressed = Signal(int, int)
    said = Signal(str)


def run(work: Callable[[Report], Any], request: threading.Event, relay: _Relay) -> Outcome:
    """Run ``work`` in this thread until it is done or ``request`` is set."""
    report = Report(relay.progressed.emit, relay.said.emit)
    try:
        with interruption.stop_on(request):
            return Outcome(work(report))
    except (KeyboardInterrupt, Interrupted) as end:
        return Outcome(error=str(end), cancelled=True)
    except (UnmaskError, OSError, MemoryError) as error:
        return Outcome(error=str(error) or type(error).__name__)
    except Exception as error:  # noqa: BLE001 - the user gets it, with its place in the code
        place = "".join(traceback.format_exception(error)[-2:])
        return Outcome(error=f"This is a defect of unmask; please report it.\n{place}")
