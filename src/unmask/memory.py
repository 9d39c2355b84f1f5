"""Memory of this machine and of this process, on Linux, macOS and Windows, in containers too."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_NO_LIMIT = 2**62
# What is assumed of a system that does not say.
_ASSUMED = 8 * 2**30
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_PEAK_RESET = Path("/proc/self/clear_refs")


def free_memory() -> int:
    """Bytes this process may still use: of the machine, and of every control group it is in."""
    return min(_machine(), _groups())


def peak_memory() -> int | None:
    """Largest resident memory of this process so far in bytes; None where it is not known."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:
        return _peak_of_windows()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux and the BSDs count in KiB, macOS in bytes.
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def track_growth() -> Callable[[], int]:
    """Start to measure memory; the result gives the growth in bytes at its peak since then.

    The peak of a process covers all that it did before, so that a process that once used 2 GB could
    use them again unnoticed. Linux forgets the peak on request; elsewhere only growth beyond the
    earlier peak counts.

    Examples:
        >>> grown = track_growth()
        >>> zeros = bytes(2**26)
        >>> grown() < 2**30
        True
    """
    with suppress(OSError):
        _PEAK_RESET.write_text("5", encoding="ascii")
    before = peak_memory() or 0
    return lambda: (peak_memory() or 0) - before


def _machine() -> int:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if (free := _free_of_windows()) is not None:
        return free
    try:
        # All memory is known, not what is free of it: half is assumed.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _ASSUMED


def _groups() -> int:
    """The least that is left in the control groups (versions 1 and 2) around this process."""
    try:
        lines = _OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = ["0::/"]
    left = _NO_LIMIT
    for line in lines:
        _, controllers, inner = line.split(":", 2)
        if controllers == "":
            names = ("memory.max", "memory.current", "inactive_file")
            left = min(left, _find_left(_GROUPS, inner, names))
        elif "memory" in controllers.split(","):
            names = (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
            left = min(left, _find_left(_GROUPS / "memory", inner, names))
    return left


def _find_left(root: Path, inner: str, names: tuple[str, str, str]) -> int:
    """What is left in a group and all groups around it.

    Inside a container the group's own path often is not there, but its limit is at the root.
    """
    limit_name, used_name, cache_name = names
    left = _NO_LIMIT
    group = root / inner.strip("/")
    while group == root or root in group.parents:
        with suppress(OSError, ValueError):
            limit = int((group / limit_name).read_text(encoding="ascii"))
            used = int((group / used_name).read_text(encoding="ascii"))
            left = min(left, max(0, limit - used + _cache(group / "memory.stat", cache_name)))
        group = group.parent
    return left


def _cache(table: Path, name: str) -> int:
    """Bytes of files that the kernel gives up when memory is asked for."""
    with suppress(OSError, ValueError):
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0


def _windows() -> Any:
    """The system's libraries; None on other systems."""
    import ctypes

    return getattr(ctypes, "windll", None)


def _free_of_windows() -> int | None:
    if (windows := _windows()) is None:
        return None
    import ctypes

    class Status(ctypes.Structure):
        # MEMORYSTATUSEX; the third of the long values is the free memory of the machine.
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (f"value{number}", ctypes.c_ulonglong) for number in range(7)
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.value1)


def _peak_of_windows() -> int | None:
    if (windows := _windows()) is None:
        return None
    import ctypes

    class Counters(ctypes.Structure):
        # PROCESS_MEMORY_COUNTERS.
        _fields_ = [
            ("size", ctypes.c_ulong),
            ("faults", ctypes.c_ulong),
            ("peak", ctypes.c_size_t),
        ] + [(f"value{number}", ctypes.c_size_t) for number in range(7)]

    counters = Counters(size=ctypes.sizeof(Counters))
    windows.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(windows.kernel32.GetCurrentProcess())
    known = windows.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
    return int(counters.peak) if known else None
