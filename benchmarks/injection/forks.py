"""Run functions in forked children with limits, and measure what they cost.

Imports take seconds and a trial takes milliseconds, so the parent imports everything once and forks
one child per trial. The parent must have one thread: a fork copies only the thread that calls it.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# A result travels through a pipe; longer texts are cut.
_LONGEST_TEXT = 2000
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Limits:
    """What a child may use.

    Attributes:
        seconds: wall time; the child is killed afterwards.
        cpu: CPU seconds; the kernel kills the child afterwards.
        memory: bytes of address space on top of what the parent has; None means no limit.
    """

    seconds: float = 60.0
    cpu: int = 60
    memory: int | None = 3 * 2**30


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Attributes:
        how: "done", "hang" (a limit of time), "killed N" (a signal) or "exit N".
        value: what the function returned, if ``how`` is "done".
        cpu: CPU seconds.
        growth: bytes by which the resident memory grew at its peak.
    """

    how: str
    value: Any
    cpu: float
    growth: int


@dataclass
class _Child:
    pid: int
    pipe: int
    deadline: float
    received: bytearray


def import_everything(package: str, *others: str) -> None:
    """Import all modules of a package, and some others, so that no child imports much.

    Raises:
        RuntimeError: an import started a thread; a fork would lose it.
    """
    import torch

    torch.set_num_threads(1)
    root = importlib.import_module(package)
    names = [entry.name for entry in pkgutil.walk_packages(root.__path__, f"{package}.")]
    for name in [*names, *others]:
        if not name.endswith("__main__"):
            # Extras, such as DICOM, may not be installed.
            with suppress(ImportError):
                importlib.import_module(name)
    if (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
        raise RuntimeError(f"expected one thread before the first fork, found {threads}.")


def run_all(
    trials: Sequence[tuple[str, Callable[[], Any]]], *, jobs: int, limits: Limits
) -> Iterator[tuple[str, Outcome]]:
    """Run each function in a child of its own, ``jobs`` at a time; yields in order of completion.

    Args:
        trials: key and function. The function returns a JSON value of less than 60 kB.
        jobs: number of children at a time.
        limits: of each child.
    """
    waiting = list(reversed(trials))
    running: dict[int, tuple[str, _Child]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                key, function = waiting.pop()
                child = _fork(function, limits)
                running[child.pipe] = (key, child)
            pause = min(child.deadline for _, child in running.values()) - time.monotonic()
            ready, _, _ = select.select(list(running), [], [], max(0.0, pause))
            for pipe in ready:
                key, child = running[pipe]
                if block := os.read(pipe, 1 << 16):
                    child.received += block
                else:
                    del running[pipe]
                    yield key, _reap(child, late=False)
            late = [p for p, (_, c) in running.items() if c.deadline <= time.monotonic()]
            for pipe in late:
                key, child = running.pop(pipe)
                yield key, _reap(child, late=True)
    finally:
        for _, child in running.values():
            _reap(child, late=True)


def run_one(function: Callable[[], Any], limits: Limits) -> Outcome:
    """``run_all`` for one function."""
    return next(run_all([("", function)], jobs=1, limits=limits))[1]


def run_command(arguments: Sequence[object], log: Path | int) -> int:
    """Run the command line in this process with its output in ``log`` (or a pipe); the exit code.

    For a child: the standard streams stay redirected.
    """
    from unmask.cli import main

    handle = log
    if isinstance(handle, Path):
        handle = os.open(handle, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    # New objects: those of the parent remember whether they could seek.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    sys.argv = ["unmask", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0) if isinstance(end.code, int | None) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def start_command(
    arguments: Sequence[object], log: Path | int, prepare: Callable[[], None] | None = None
) -> int:
    """Fork a child that runs the command line and ends with its exit code; its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        if prepare is not None:
            prepare()
        code = run_command(arguments, log)
    except BaseException:  # noqa: BLE001 - the child must never return into the caller
        traceback.print_exc()
    finally:
        os._exit(code)


def shortened(text: str) -> str:
    """A text that fits into a result, without its middle if it is long."""
    half = _LONGEST_TEXT // 2
    return text if len(text) <= _LONGEST_TEXT else f"{text[:half]} [...] {text[-half:]}"


def _fork(function: Callable[[], Any], limits: Limits) -> _Child:
    pipe, end = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(pipe)
        _work(function, limits, end)
    os.close(end)
    return _Child(pid, pipe, time.monotonic() + limits.seconds, bytearray())


def _work(function: Callable[[], Any], limits: Limits, end: int) -> NoReturn:
    """The child's life: a group of its own, its limits, one line before and one after the work."""
    # A group, so that one signal ends grandchildren as well.
    os.setpgid(0, 0)
    size, resident = (int(n) * _PAGE for n in Path("/proc/self/statm").read_text().split()[:2])
    os.write(end, f"{resident}\n".encode())
    if limits.memory is not None:
        room = size + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu, limits.cpu + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = 0
    try:
        os.write(end, json.dumps(function()).encode())
    except BaseException:  # noqa: BLE001 - the parent reads it
        code = 71
        os.write(end, json.dumps(shortened(traceback.format_exc())).encode())
    os._exit(code)


def _reap(child: _Child, *, late: bool) -> Outcome:
    if late:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    _, status, usage = os.wait4(child.pid, 0)
    os.close(child.pipe)
    base, _, text = bytes(child.received).partition(b"\n")
    code = os.waitstatus_to_exitcode(status)
    how = "done" if code == 0 else f"killed {-code}" if code < 0 else f"exit {code}"
    if late or code in (-signal.SIGXCPU,):
        how = "hang"
    value = json.loads(text) if text and how != "hang" else None
    growth = max(0, usage.ru_maxrss * 1024 - int(base or 0)) if base else 0
    return Outcome(how, value, usage.ru_utime + usage.ru_stime, growth)
