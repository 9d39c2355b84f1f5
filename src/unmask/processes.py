"""Which process wrote a file or holds a folder, and whether that process still runs.

Every function works on Linux, macOS and Windows. ``os.kill(pid, 0)`` is not used on Windows, where
signal 0 is Ctrl-C.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import xxhash

_STILL_ACTIVE = 259
_QUERY_LIMITED = 0x1000


def host_tag() -> str:
    """Six hex digits that stand for this host in file names."""
    return xxhash.xxh3_64_hexdigest(socket.gethostname().encode(errors="replace"))[:6]


def owner() -> str:
    """Name of this process for temporary files: host, process number, start.

    The start tells this process from an earlier one with the same number, which is the rule in
    containers, where the number is often 1.
    """
    return f"{host_tag()}-{os.getpid()}-{_start()}"


def owns(host: str, pid: int, start: str) -> bool | None:
    """Whether the process named by ``owner()`` may still run; None for a process of another host.

    Args:
        host: the first part of ``owner()``.
        pid: the second part.
        start: the third part.
    """
    if host != host_tag():
        return None
    if pid == os.getpid():
        return start == _start()
    return is_running(pid)


def is_running(pid: int, begun: str | None = None) -> bool:
    """Whether a process of this host runs; unknown counts as running.

    Args:
        pid: process number.
        begun: ``begin_of`` the process; another process with a reused number is not it.
    """
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # The process belongs to another user.
        return True
    status = _status(pid)
    if status is None:
        return True
    state, now = status
    return state not in "ZX" and begun in (None, "", now)


def begin_of(pid: int) -> str:
    """When a process began, in units of its system; empty if the system does not say."""
    status = _status(pid)
    return "" if status is None else status[1]


def busy_factor(before: tuple[int, int] | None) -> float:
    """How many times longer work took since `waiting_times` because others used the processors.

    1 on an idle machine, and where the system does not say.
    """
    now = waiting_times()
    if before is None or now is None:
        return 1.0
    used, waited = now[0] - before[0], now[1] - before[1]
    return 1.0 if used <= 0 or waited <= 0 else 1.0 + waited / used


def waiting_times() -> tuple[int, int] | None:
    """Nanoseconds in which threads of this process ran, and in which they waited for a processor.

    None if the system does not say; only Linux does.
    """
    used, waited = 0, 0
    try:
        for path in Path("/proc/self/task").glob("*/schedstat"):
            run, wait, _ = map(int, path.read_text(encoding="ascii").split())
            used, waited = used + run, waited + wait
    except (OSError, ValueError):
        return None
    return (used, waited) if used else None


@lru_cache(maxsize=1)
def _start() -> str:
    return f"{time.time_ns() // 1_000_000:x}"


def _status(pid: int) -> tuple[str, str] | None:
    """State and start of a process, from the table of Linux."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name in parentheses may hold spaces and parentheses itself.
        fields = text.rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None


def _runs_on_windows(pid: int) -> bool:
    import ctypes

    windows: Any = getattr(ctypes, "windll", None)
    if windows is None:
        return True
    kernel = windows.kernel32
    handle = kernel.OpenProcess(_QUERY_LIMITED, False, pid)  # noqa: FBT003 - a C function
    if not handle:
        # Access denied (5) means that there is one.
        return kernel.GetLastError() == 5
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not known or code.value == _STILL_ACTIVE
