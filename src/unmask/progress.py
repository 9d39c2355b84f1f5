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
