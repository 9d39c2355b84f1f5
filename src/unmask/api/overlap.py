"""Work on many files with reading, computing and finishing overlapped, in the order of the files.

One thread reads the next files, the calling thread computes (a network is fastest if only one
thread uses it), and one thread finishes: it decodes and writes. Otherwise the result is that of one
file after the other: outcomes come in order, and after an error that ends the run no later file is
written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from unmask.errors import DataError

Key = TypeVar("Key")
# Files whose reading is ahead, and files in work at once.
_AHEAD, _MOST = 2, 8
# Bytes in work at once: those of the largest image that is not done in blocks.
_BUDGET = 512 << 20


@dataclass(frozen=True)
class Stages:
    """The parts of the work on one file.

    Attributes:
        read: gives what ``compute`` takes; runs in a thread.
        compute: gives what ``finish`` takes; runs in the calling thread.
        finish: gives the result; runs in a thread, for one file after the other.
        size: bytes of memory that the file takes while it is in work.
        alone: no other file is in work meanwhile.
    """

    read: Callable[[], Any]
    compute: Callable[[Any], Any]
    finish: Callable[[Any], Any]
    size: int = 0
    alone: bool = False

    def run(self) -> Any:
        """Run them one after the other."""
        return self.finish(self.compute(self.read()))

    @classmethod
    def of(cls, run: Callable[[], Any]) -> Stages:
        """Work that is not divided."""
        return cls(lambda: None, lambda _: run(), lambda result: result, alone=True)


@dataclass(frozen=True)
class Outcome(Generic[Key]):
    """The result of the work on one file.

    Attributes:
        key: of the file.
        result: of its last stage; None after an error.
        error: that one of its stages raised.
        seconds: sum of the times of its stages.
    """

    key: Key
    result: Any
    error: Exception | None
    seconds: float


@dataclass(eq=False)
class _Entry(Generic[Key]):
    key: Key
    stages: Stages
    value: Future[Any]
    seconds: list[float] = field(default_factory=list)

    def timed(self, run: Callable[..., Any], *given: Any) -> Any:
        begin = time.perf_counter()
        try:
            return run(*given)
        finally:
            self.seconds.append(time.perf_counter() - begin)


def overlap(
    jobs: Iterable[tuple[Key, Stages]], *, stop: bool
) -> Generator[Outcome[Key], None, None]:
    """Run the stages of all jobs; outcomes in the order of the jobs.

    Args:
        jobs: a key and the stages of each file; asked for shortly before its reading begins.
        stop: an error is the last outcome; otherwise only errors that are not a ``DataError``.
    """
    source, ended = iter(jobs), threading.Event()
    coming = next(source, None)
    # All entries in work, in order, and those of them that are not computed yet.
    entries: deque[_Entry[Key]] = deque()
    read: deque[_Entry[Key]] = deque()
    with _pool("unmask-file", ended) as reader, _pool("unmask-finish", ended) as finisher:
        while coming is not None or entries:
            while coming is not None and len(read) < _AHEAD and _fits(coming[1], entries):
                entry = _Entry(*coming, Future())
                entry.value = reader.submit(entry.timed, entry.stages.read)
                entries.append(entry)
                read.append(entry)
                coming = next(source, None)
            if read and not _compute(read.popleft(), finisher, ended, stop=stop):
                # Earlier files are finished and reported before the error is.
                read.clear()
                coming = None
            while entries and entries[0] not in read:
                idle = not read and (coming is None or not _fits(coming[1], entries))
                if not idle and not entries[0].value.done():
                    break
                outcome = _outcome(entries.popleft())
                yield outcome
                if outcome.error is not None and _is_last(outcome.error, stop=stop):
                    return


def _compute(
    entry: _Entry[Any], finisher: ThreadPoolExecutor, ended: threading.Event, *, stop: bool
) -> bool:
    """Compute one file and have it finished; False after an error that ends the run."""
    try:
        value = entry.timed(entry.stages.compute, entry.value.result())
    except Exception as error:  # noqa: BLE001 - reported when it is this file's turn
        entry.value = Future()
        entry.value.set_exception(error)
        return not _is_last(error, stop=stop)

    def finish(value: Any) -> Any:
        if ended.is_set():
            raise CancelledError
        try:
            return entry.timed(entry.stages.finish, value)
        except BaseException as error:
            if _is_last(error, stop=stop):
                ended.set()
            raise

    # The future of the reading goes, and with it what was read.
    entry.value = finisher.submit(finish, value)
    return True


def _outcome(entry: _Entry[Key]) -> Outcome[Key]:
    """Wait for the end of a file."""
    result, error = None, None
    try:
        result = entry.value.result()
    except Exception as raised:  # noqa: BLE001 - the caller raises it
        error = raised
    return Outcome(entry.key, result, error, sum(entry.seconds))


def _is_last(error: BaseException, *, stop: bool) -> bool:
    return stop or not isinstance(error, DataError)


def _fits(stages: Stages, entries: deque[_Entry[Any]]) -> bool:
    """Whether another file may be in work too."""
    if not entries:
        return True
    alone = stages.alone or entries[-1].stages.alone
    size = stages.size + sum(entry.stages.size for entry in entries)
    return not alone and len(entries) < _MOST and size <= _BUDGET


@contextmanager
def _pool(name: str, ended: threading.Event) -> Generator[ThreadPoolExecutor, None, None]:
    """A thread that ends with the run, whatever ends it; a file in work is completed."""
    pool = ThreadPoolExecutor(1, name)
    try:
        yield pool
    finally:
        ended.set()
        pool.shutdown(wait=True, cancel_futures=True)
