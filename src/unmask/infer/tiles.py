"""Prediction window by window: images of any size, memory that does not grow with their length.

Windows come in row order along the first spatial axis. One thread reads the lines of the next row
while the network works, one writes finished lines; scores are joined in a strip (see ``blend``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from unmask import interruption
from unmask.errors import RecipeError
from unmask.infer.blend import Strip, gaussian, split_overlaps
from unmask.models.memory import Forward, Halving, cpu_batch_size
from unmask.profiling import stage
from unmask.progress import Progress
from unmask.space.box import Box
from unmask.space.pad import pad_box
from unmask.space.tiling import Tiling

# Finished lines are handed over in pieces of about this size.
_PIECE_BYTES = 8 << 20


@runtime_checkable
class Source(Protocol):
    """Where windows are read; its methods are called from two threads, each from one only."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, *space)`` of the crops it gives."""
        ...

    def lines(self, start: int, stop: int) -> np.ndarray:
        """Lines ``(C, stop - start, *space[1:])`` inside the image; called in growing order."""
        ...

    def prepare(self, crop: np.ndarray) -> np.ndarray:
        """A part of such lines as float32 network input."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where joined scores go."""

    def open(self, shape: tuple[int, ...]) -> int:
        """Called once before the first piece, with ``(S, *space)``.

        Returns:
            Pieces shall begin at multiples of this number of lines.
        """
        ...

    def room(self, box: Box) -> np.ndarray | None:
        """Where a piece ``(S, *box.shape)`` may be put at once; None: ``write`` takes it."""
        ...

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Take a piece ``(S, *box.shape)`` float32; pieces come in order, from one thread.

        The array is reused afterwards. It is that of ``room`` if there was one.
        """
        ...


@dataclass(frozen=True)
class _Window:
    box: Box
    keep: Box


@dataclass(frozen=True)
class _Windows:
    """All windows in C order, made when asked for: a large image has very many.

    Attributes:
        size: voxels of a window.
        spans: per axis (first voxel, first kept voxel, end of the kept ones) of every position.
    """

    size: tuple[int, ...]
    spans: tuple[list[tuple[int, int, int]], ...]

    def __len__(self) -> int:
        return prod(len(along) for along in self.spans)

    def __getitem__(self, number: int) -> _Window:
        counts = [len(along) for along in self.spans]
        places = np.unravel_index(number, counts)
        chosen = [along[place] for along, place in zip(self.spans, places, strict=True)]
        start, low, high = (tuple(part) for part in zip(*chosen, strict=True))
        box = Box(start, tuple(a + n for a, n in zip(start, self.size, strict=True)))
        return _Window(box, Box(low, high))

    @property
    def columns(self) -> int:
        """Windows of one row."""
        return prod(len(along) for along in self.spans[1:])

    def row(self, number: int) -> int | None:
        """First line of row ``number``; None behind the last one."""
        return self.spans[0][number][0] if number < len(self.spans[0]) else None

    def reaching(self, line: int) -> int:
        """Number of the first window that ends behind ``line``."""
        rows = (i for i, span in enumerate(self.spans[0]) if span[0] + self.size[0] > line)
        return next(rows, len(self.spans[0])) * self.columns


@torch.inference_mode()
def run_tiles(
    forward: Forward,
    source: Source,
    sink: Sink,
    *,
    tiling: Tiling,
    first: int = 0,
    progress: Progress | None = None,
) -> None:
    """Run ``forward`` on all windows of ``source`` and write the joined scores to ``sink``.

    Args:
        forward: ``(B, C, *window)`` float32 on the CPU to scores ``(B, S, *window)``, which are
            joined on the device where they come; its batch is halved when memory runs out.
        source: the image.
        sink: receives every line once, in order.
        tiling: the windows.
        first: lines before this one are already written: windows that end before it are left out,
            the remaining lines are the same bit by bit.
        progress: called with (windows done, windows in all) after every batch.

    Raises:
        RecipeError: another number of axes, or a window that does not fit into memory.
    """
    space = source.shape[1:]
    if len(tiling.window) != len(space):
        raise RecipeError(
            f"infer.tile={tiling.window} has {len(tiling.window)} axes, the image {len(space)} "
            f"{space}. Give one number for each spatial axis."
        )
    places = tiling.positions(space)
    windows = _windows(tiling, places, space)
    size = tiling.batch_size or cpu_batch_size(tiling.window)
    # Batches are cut at the same windows as in a run from the start, so results are too.
    begin = windows.reaching(first) // size * size if first < space[0] else len(windows)
    run = Halving(forward)
    with (
        ThreadPoolExecutor(1, "unmask-read") as reader,
        ThreadPoolExecutor(1, "unmask-write") as writer,
    ):
        joined = _Writer(sink, writer, tiling=tiling, places=places, space=space, first=first)
        crops = _crops(source, windows, begin, reader, tiling.pad)
        for number in range(begin, len(windows), size):
            interruption.check()
            stop = min(number + size, len(windows))
            windows_in = _batch(crops, stop - number, (source.shape[0], *tiling.window))
            with stage("network"):
                batch = run(windows_in)
            for each, scores in zip(range(number, stop), batch, strict=True):
                joined.add(windows[each], scores)
            if progress is not None:
                progress(stop, len(windows))
        joined.finish()


def count_rows(tiling: Tiling, space: Sequence[int], lines: int) -> tuple[int, int]:
    """Rows of windows that ``run_tiles`` leaves out if ``lines`` are there, and all rows."""
    adapted = tiling.adapted(space)
    starts = adapted.positions(space)[0]
    ended = sum(start + adapted.window[0] <= lines for start in starts)
    return (ended if lines < space[0] else len(starts)), len(starts)


def _windows(tiling: Tiling, places: list[list[int]], space: Sequence[int]) -> _Windows:
    spans: list[list[tuple[int, int, int]]] = []
    for along, window, length in zip(places, tiling.window, space, strict=True):
        if tiling.blend == "gaussian":
            spans.append([(a, max(0, a), min(length, a + window)) for a in along])
        else:
            keep = split_overlaps(along, window, length)
            spans.append([(a, *ends) for a, ends in zip(along, keep, strict=True)])
    return _Windows(tuple(tiling.window), tuple(spans))


def _batch(crops: Iterator[np.ndarray], count: int, shape: tuple[int, ...]) -> Tensor:
    """The next ``count`` crops as one tensor."""
    # A fresh buffer: the copy of the previous one to the device may still be under way.
    batch = torch.empty((count, *shape), pin_memory=torch.cuda.is_available())
    array = batch.numpy()
    for place in range(count):
        array[place] = next(crops)
    return batch


def _crops(
    source: Source, windows: _Windows, begin: int, reader: ThreadPoolExecutor, pad: str
) -> Iterator[np.ndarray]:
    """Network input of each window from ``begin``; the next row's lines are read meanwhile."""
    space = source.shape[1:]
    whole = Box.of(space)

    def read(number: int) -> Future[np.ndarray] | None:
        row = windows.row(number)
        if row is None:
            return None
        return reader.submit(source.lines, max(0, row), min(space[0], row + windows.size[0]))

    first_row, skipped = divmod(begin, windows.columns)
    coming = read(first_row)
    for row in range(first_row, len(windows.spans[0])):
        lines = coming.result() if coming is not None else np.empty(0)
        coming = read(row + 1)
        for number in range(row * windows.columns + skipped, (row + 1) * windows.columns):
            box = windows[number].box
            inside = box.clip(whole)
            local = inside.shift((-max(0, box.start[0]), *(0 for _ in space[1:])))
            yield pad_box(source.prepare(lines[:, *local.slices]), inside, box, mode=pad)
        skipped = 0


class _Writer:
    """Scores of windows on their way to the sink."""

    def __init__(
        self,
        sink: Sink,
        writer: ThreadPoolExecutor,
        *,
        tiling: Tiling,
        places: list[list[int]],
        space: Sequence[int],
        first: int,
    ) -> None:
        self._sink, self._writer = sink, writer
        self._tiling, self._places, self._space = tiling, places, tuple(space)
        self._first = first
        self._strip: Strip | None = None
        self._piece, self._channels = 1, 0
        self._pending: Future[None] | None = None
        self._buffer: Tensor | None = None

    def add(self, window: _Window, scores: Tensor) -> None:
        """Join one window; lines that no later window reaches are handed over."""
        if self._strip is None:
            self._strip = self._open_strip(scores)
        self._hand_over(max(0, window.box.start[0]))
        self._strip.add(window.box, window.keep, scores.to(self._strip.device))

    def finish(self) -> None:
        """Hand over the rest and wait until it is written."""
        self._hand_over(self._space[0])
        self._wait()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def _open_strip(self, scores: Tensor) -> Strip:
        channels = self._channels = scores.shape[0]
        unit = self._sink.open((channels, *self._space))
        line_bytes = 4 * channels * prod(self._space[1:])
        self._piece = unit * max(1, _PIECE_BYTES // (line_bytes * unit))
        height = self._tiling.window[0] + self._piece
        weight = gaussian(self._tiling.window) if self._tiling.blend == "gaussian" else None
        return Strip(
            (channels, *self._space),
            height,
            starts=self._places,
            weight=weight,
            first=self._first,
            device=_strip_device(scores.device, line_bytes * height),
        )

    def _hand_over(self, stop: int) -> None:
        if self._strip is None:
            return
        room = self._room if self._strip.device.type == "cpu" else None
        for box, scores in self._strip.take(stop, lines=self._piece, room=room):
            self._wait()
            self._pending = self._writer.submit(self._write, box, scores)

    def _room(self, box: Box) -> Tensor:
        """The sink's own memory, or a buffer once the piece before is written from it."""
        own = self._sink.room(box)
        if own is not None:
            return torch.from_numpy(own)
        # A second buffer would save the time of filling one, which is short compared with writing.
        self._wait()
        if self._buffer is None:
            self._buffer = torch.empty((self._channels, self._piece, *self._space[1:]))
        return self._buffer[:, : box.shape[0]]

    def _write(self, box: Box, scores: Tensor) -> None:
        with stage("writing"):
            self._sink.write(box, scores.cpu().numpy())


def _strip_device(device: torch.device, size: int) -> torch.device:
    """Where the scores are, unless their strip would take a quarter of the memory left there."""
    if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] // 4:
        return torch.device("cpu")
    return device
