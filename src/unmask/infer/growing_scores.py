"""Joined scores of a whole image on the disk, which blocks read while the network goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unmask import interruption
from unmask.blocks.resume import count_blocks
from unmask.infer.sinks import read_scores
from unmask.infer.tiles import Sink
from unmask.io import Image
from unmask.space.box import Box

# Seconds between two looks at whether a block that waits for scores shall end.
_LOOK = 0.2


class GrowingScores:
    """A Zarr array of scores with the lines that are on the disk already; thread-safe.

    It is the sink that the network writes to.

    Args:
        path: the array.
        sink: writes into it.
        lines: lines along the first spatial axis that are there before.
        image: the image as the network sees it.
    """

    def __init__(self, path: Path, sink: Sink, lines: int, image: Image) -> None:
        self.path = path
        self._sink, self._lines, self._image = sink, lines, image
        self._changed = threading.Condition()
        self._writing: Future[None] | None = None

    def open(self, shape: tuple[int, ...]) -> int:
        """Open the sink."""
        return self._sink.open(shape)

    def room(self, box: Box) -> np.ndarray | None:
        """Memory of the sink."""
        return self._sink.room(box)

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Write one piece; from now on it can be read."""
        self._sink.write(box, scores)
        with self._changed:
            self._lines = box.stop[0]
            self._changed.notify_all()

    def read(self, box: Box) -> np.ndarray:
        """Scores ``(S, *box.shape)``, as soon as they are there.

        Raises:
            DataError: a chunk is damaged.
            Exception: the writing ended with it, and the lines of the box are missing.
        """
        with self._changed:
            while self._lines < box.stop[0]:
                interruption.check()
                if self._writing is not None and self._writing.done():
                    self.wait()
                self._changed.wait(_LOOK)
        return read_scores(self.path, box)

    def wait(self) -> None:
        """Wait until all scores are there.

        Raises:
            Exception: the writing ended with it.
        """
        if self._writing is not None:
            self._writing.result()

    @contextmanager
    def written_by(self, work: Callable[[], None]) -> Generator[None, None, None]:
        """Inside the ``with`` block, ``work`` writes to this sink in a thread of its own.

        The block ends when the work is done; if it is left with an error, the work ends early.

        Raises:
            Exception: the work ended with it.
        """
        stop = threading.Event()

        def run() -> None:
            with interruption.stop_on(stop):
                work()

        with (
            interruption.note_kept(self._describe_kept),
            ThreadPoolExecutor(1, "unmask-network") as pool,
        ):
            self._writing = pool.submit(interruption.hand_on(run))
            try:
                yield
                self.wait()
            finally:
                stop.set()

    def _describe_kept(self) -> str:
        """The share of the scores that a run that resumes finds; "" if that goes without saying."""
        share = 100 * self._lines // self._image.shape[1]
        if not self._lines or (share == 100 and count_blocks(self.path.parent)):
            # Blocks are mostly begun when all scores are there.
            return ""
        return f"{self._image.source}: {share} % of the scores are kept."
