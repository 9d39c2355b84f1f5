"""Ctrl-C before a training listens for it.

Python raises ``KeyboardInterrupt`` wherever it happens to be; inside a callback of a compiled
library, as during imports, the exception is printed and lost. So the request is kept in mind too.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def remember() -> None:
    """From now on SIGINT raises ``KeyboardInterrupt`` as ever, and ``asked`` tells that it came."""
    signal.signal(signal.SIGINT, _note)


def asked() -> bool:
    """Whether SIGINT came since ``remember``."""
    return _asked.is_set()


def _note(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
