"""How long work reports how far it is: functions of (steps done, steps in all)."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[int, int], None]


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
    """

    def __init__(
        self, progress: Progress | None, *, blocks: int, steps: int, finished: int
    ) -> None:
        self._progress, self._blocks, self._steps = progress, blocks, steps
        self._finished = finished
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def advance(self, number: int, done: int, total: int) -> None:
        """Report that a block has done ``done`` of its ``total`` steps."""
        with self._lock:
            self._shares[number] = done / total
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
            self._progress(int(blocks * self._steps), self._blocks * self._steps)
