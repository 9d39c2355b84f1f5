"""Ctrl-C before a training listens for it.

A process that a shell starts in the background ignores SIGINT, but a training obeys it; so that it
counts from the start, it is listened to from the start. Inside a callback of a compiled library
``KeyboardInterrupt`` is printed and lost; so the request is kept in mind too.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def remember() -> None:
    """From now on SIGINT raises ``KeyboardInterrupt``, and ``asked`` tells that it came."""
    signal.signal(signal.SIGINT, _note)


def asked() -> bool:
    """Whether SIGINT came since ``remember``."""
    return _asked.is_set()


def _note(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
