"""How long work reports how far it is: functions of (steps done, steps in all), and its words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from unmask.wording import format_count

Progress = Callable[[int, int], None]


def duration(seconds: float | int) -> str:
    """A time as people say it.

    Examples:
        >>> duration(42), duration(150), duration(9000)
        ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def describe_finished(count: int, total: int, what: str) -> str:
    """How much of the work is finished.

    Examples:
        >>> describe_finished(12, 43, "block"), describe_finished(1, 1, "image")
        ('12 of 43 blocks are finished', '1 of 1 image is finished')
    """
    return f"{count} of {format_count(total, what)} {'is' if count == 1 else 'are'} finished"


class TimeLeft:
    """The time that is left, at the speed of this run so far.

    Args:
        first: steps that are done at the start, such as those of an ended run that is resumed: they
            took no time in this run.
    """

    def __init__(self, first: int) -> None:
        self._first, self._begin = first, time.monotonic()

    def describe(self, done: int, total: int) -> str:
        """Text such as ``2.5 min left``; "" if it is unknown or nothing is left."""
        new, left = done - self._first, total - done
        if new < 1 or left < 1:
            return ""
        return f"{duration((time.monotonic() - self._begin) / new * left)} left"


def part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Progress of run ``number`` as a part of ``count`` equal runs."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(number * total + done, count * total)


class BlockProgress:
    """Steps done in all blocks together, whatever the order in which blocks advance; thread-safe.

    Args:
        progress: called with (steps done, steps in all); None: nothing is reported.
        blocks: number of blocks.
        steps: steps per block.
        finished: blocks that an ended run has finished.
        shared: steps of work that is done once for all blocks, perhaps at the same time.
    """

    def __init__(
        self,
        progress: Progress | None,
        *,
        blocks: int,
        steps: int,
        finished: int,
        shared: int = 0,
    ) -> None:
        self._progress, self._blocks, self._steps = progress, blocks, steps
        self._finished = finished
        self._shared, self._shared_part = shared, 0.0
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Report what is done before the first block, from which the time left is estimated."""
        with self._lock:
            self._show()

    def advance(self, number: int, done: int, total: int) -> None:
        """Report that a block has done ``done`` of its ``total`` steps."""
        with self._lock:
            self._shares[number] = done / total
            self._show()

    def advance_shared(self, done: int, total: int) -> None:
        """Report that ``done`` of the ``total`` steps of the shared work are done."""
        with self._lock:
            self._shared_part = done / total
            self._show()

    def finish(self, number: int) -> None:
        """Report that a block is finished."""
        with self._lock:
            self._shares.pop(number, None)
            self._finished += 1
            self._show()

    def _show(self) -> None:
        if self._progress is not None:
            blocks = self._finished + sum(self._shares.values())
            done = blocks * self._steps + self._shared_part * self._shared
            self._progress(int(done), self._blocks * self._steps + self._shared)
