"""Where the time of a run goes: seconds per stage, over all threads of this process.

Stages of different files overlap, so their sum may exceed the time of the run. If nothing is
profiled, a stage costs a third of a microsecond.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

_NOTHING = nullcontext()
_running: list[Profile] = []


@dataclass
class Seconds:
    """Time of a stage.

    Attributes:
        wall: seconds between its start and its end, added up over all calls.
        cpu: processor seconds of the threads that ran it, without helper threads of a library.
        calls: how often it ran.
    """

    wall: float = 0.0
    cpu: float = 0.0
    calls: int = 0


class Profile:
    """Seconds per stage; safe for threads."""

    def __init__(self) -> None:
        self.stages: dict[str, Seconds] = {}
        self._begin = time.perf_counter()
        # The processor time used so far went into imports.
        self._imports = time.process_time()
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def measure(self, name: str) -> Generator[None, None, None]:
        """Measure a stage; time of a stage within it counts for the inner one alone."""
        open_stages: list[Seconds] = self._local.__dict__.setdefault("open", [])
        open_stages.append(Seconds())
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
            inner = open_stages.pop()
            if open_stages:
                open_stages[-1].wall += wall
                open_stages[-1].cpu += cpu
            self._add(name, wall - inner.wall, cpu - inner.cpu)

    def to_json(self) -> dict[str, Any]:
        """Seconds of the imports, of every stage and of the run, as JSON values."""
        with self._lock:
            stages = {
                name: {
                    "seconds": round(each.wall, 3),
                    "cpu_seconds": round(each.cpu, 3),
                    "calls": each.calls,
                }
                for name, each in self.stages.items()
            }
        total = {
            "seconds": round(time.perf_counter() - self._begin, 3),
            "cpu_seconds": round(time.process_time() - self._imports, 3),
        }
        return {"imports_cpu_seconds": round(self._imports, 3), "stages": stages, "total": total}

    def _add(self, name: str, wall: float, cpu: float) -> None:
        with self._lock:
            stage = self.stages.setdefault(name, Seconds())
            stage.wall += wall
            stage.cpu += cpu
            stage.calls += 1


def format_profile(record: dict[str, Any]) -> str:
    """A table of ``Profile.to_json``.

    Examples:
        >>> stage = {"seconds": 1.0, "cpu_seconds": 0.9, "calls": 3}
        >>> total = {"seconds": 2.0, "cpu_seconds": 1.5}
        >>> record = {"imports_cpu_seconds": 0.5, "stages": {"reading": stage}, "total": total}
        >>> print(format_profile(record))
        stage         seconds   CPU s    calls
        imports             -     0.5        -
        reading           1.0     0.9        3
        total             2.0     1.5        -
    """
    rows = [("imports", None, record["imports_cpu_seconds"], None)]
    for name, each in record["stages"].items():
        rows.append((name, each["seconds"], each["cpu_seconds"], each["calls"]))
    rows.append(("total", record["total"]["seconds"], record["total"]["cpu_seconds"], None))
    lines = [f"{'stage':<12}{'seconds':>9}{'CPU s':>8}{'calls':>9}"]
    for name, wall, cpu, calls in rows:
        shown = "-" if wall is None else f"{wall:.1f}"
        lines.append(f"{name:<12}{shown:>9}{cpu:>8.1f}{'-' if calls is None else calls:>9}")
    return "\n".join(lines)


@contextmanager
def profiled() -> Generator[Profile, None, None]:
    """Measure all stages of this process meanwhile."""
    profile = Profile()
    _running.append(profile)
    try:
        yield profile
    finally:
        _running.remove(profile)


def stage(name: str) -> AbstractContextManager[None]:
    """Measure a block of code as a stage, if the run is profiled."""
    return _running[-1].measure(name) if _running else _NOTHING
