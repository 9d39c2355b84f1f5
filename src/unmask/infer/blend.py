"""How overlapping windows are joined: weights, and the strip of lines that is still open.

Windows come in row order along the first spatial axis, so a line (all voxels of one index of that
axis) is finished as soon as a window starts behind it. Only the open lines are kept: memory does
not grow with the length of the first axis.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from unmask.space.box import Box

SIGMA = 1 / 8
FLOOR = 1e-3
# Weights are summed over lines of about this size at once.
_TOTAL_BYTES = 1 << 19


def gaussian(window: Sequence[int]) -> Float32[Tensor, "*window"]:
    """Weight of every voxel of a window: a centered Gaussian of sigma 1/8 window, at least 1e-3.

    The floor keeps corners from vanishing in float32; it is applied to the product of the axes,
    as in MONAI's and MEDIAR's published inference (Lee et al. 2022, arXiv:2212.03465).
    """
    weight = torch.ones((), dtype=torch.float64)
    for length in window:
        offset = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (offset / (SIGMA * length)) ** 2)
    return weight.clamp(min=FLOOR).float()


def split_overlaps(starts: Sequence[int], window: int, length: int) -> list[tuple[int, int]]:
    """Interval that each window answers for where nothing is blended: cuts halve the overlaps.

    The intervals partition ``[0, length)``; each one lies inside its window.
    """
    cuts = [0, *((a + window + b) // 2 for a, b in pairwise(starts)), length]
    return list(pairwise(cuts))


class WeightSums:
    """Sum of the weights of all windows over every voxel, kept for one period of the windows.

    Windows lie at a product of positions along the axes, so two positions of an axis that have the
    same windows at the same distances have the same sums: all but those near the ends repeat. Every
    row of windows has the same columns, so the sum over all windows is a sum of these over rows.
    """

    def __init__(
        self,
        weight: Float32[Tensor, "*window"],
        starts: Sequence[Sequence[int]],
        space: Sequence[int],
    ) -> None:
        """Sum the columns of one row.

        Args:
            weight: weight of a window's voxels.
            starts: window positions along every spatial axis.
            space: voxels of the image along every axis.
        """
        self._rows = starts[0]
        found = [
            _repeating(along, window, length)
            for along, window, length in zip(starts[1:], weight.shape[1:], space[1:], strict=True)
        ]
        places = [first for first, _ in found]
        self._pattern = [pattern.to(weight.device) for _, pattern in found]
        shape = (weight.shape[0], *(len(first) for first in places))
        self._columns = torch.zeros(shape, device=weight.device)
        for corner in product(*starts[1:]):
            part, inside = weight, []
            for axis, (along, start) in enumerate(zip(places, corner, strict=True), 1):
                end = start + weight.shape[axis]
                low, high = torch.searchsorted(along, torch.tensor([start, end])).tolist()
                inside.append(slice(low, high))
                part = part.index_select(axis, (along[low:high] - start).to(weight.device))
            self._columns[:, *inside] += part

    @property
    def columns(self) -> int:
        """Different columns that are kept; an image of any length has no more."""
        return self._columns[0].numel()

    def lines(self, begin: int, end: int) -> Float32[Tensor, "lines *rest"]:
        """Sums over whole lines."""
        height = self._columns.shape[0]
        total = self._columns.new_zeros((end - begin, *self._columns.shape[1:]))
        for start in self._rows[
            bisect_right(self._rows, begin - height) : bisect_left(self._rows, end)
        ]:
            low, high = max(begin, start), min(end, start + height)
            total[low - begin : high - begin] += self._columns[low - start : high - start]
        for axis, pattern in enumerate(self._pattern, 1):
            total = total.index_select(axis, pattern)
        return total


def _repeating(starts: Sequence[int], window: int, length: int) -> tuple[Tensor, Tensor]:
    """First position of each arrangement of windows along an axis, ascending; that of every one."""
    places = np.arange(length)
    begin = np.searchsorted(starts, places - window, side="right")
    count = np.searchsorted(starts, places, side="right") - begin
    reach = np.arange(count.max())
    covering = np.minimum(begin[:, None] + reach, len(starts) - 1)
    distance = places[:, None] - np.asarray(starts)[covering]
    distance[reach >= count[:, None]] = -1
    _, first, pattern = np.unique(distance, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return torch.from_numpy(first[order]), torch.from_numpy(rank[pattern.reshape(-1)])


class Strip:
    """Sums of the open lines, in float32, in a ring of lines on the device of the scores.

    Attributes:
        device: where the sums live.
    """

    def __init__(
        self,
        shape: Sequence[int],
        lines: int,
        *,
        starts: Sequence[Sequence[int]],
        weight: Tensor | None,
        first: int,
        device: torch.device,
    ) -> None:
        """Prepare an empty strip.

        Args:
            shape: ``(S, *space)`` of the joined scores.
            lines: lines of the ring: those of a window and of a piece that is not yet taken.
            starts: window positions along every spatial axis.
            weight: weight of a window's voxels; None copies instead of blending.
            first: lines before this one are not wanted.
            device: where the sums live.
        """
        self._space = tuple(shape[1:])
        self._weight = None if weight is None else weight.to(device)
        self._ring = min(lines, shape[1])
        self._sums = torch.zeros((shape[0], self._ring, *shape[2:]), device=device)
        self.device = self._sums.device
        self._totals = (
            None if self._weight is None else WeightSums(self._weight, starts, self._space)
        )
        self._done = first

    @property
    def done(self) -> int:
        """Lines before this one have been taken."""
        return self._done

    def add(self, window: Box, keep: Box, scores: Float32[Tensor, "s *window"]) -> None:
        """Add one window; windows must come in order of their first axis.

        Args:
            window: where it lies; it may reach outside the image.
            keep: the part that counts, inside the image.
            scores: its scores.
        """
        keep = Box((max(keep.start[0], self._done), *keep.start[1:]), keep.stop)
        for part in self._unroll(keep):
            inside = part.relative_to(window).slices
            sums = self._sums[:, self._place(part), *part.slices[1:]]
            if self._weight is None:
                sums.copy_(scores[:, *inside])
            else:
                sums.addcmul_(scores[:, *inside], self._weight[inside])

    def take(
        self, stop: int, *, lines: int, room: Callable[[Box], Tensor] | None = None
    ) -> Iterator[tuple[Box, Tensor]]:
        """Finished scores of the lines before ``stop``, in pieces of ``lines``; they are freed.

        Pieces begin at multiples of ``lines``; an incomplete last piece waits, except at the end.

        Args:
            stop: first line that is still open.
            lines: lines of a piece.
            room: gives the tensor to be filled with a piece; None: a new one.
        """
        length, *rest = self._space
        last = length if stop >= length else stop // lines * lines
        while self._done < last:
            end = min((self._done // lines + 1) * lines, last)
            box = Box((self._done, *(0 for _ in rest)), (end, *rest))
            shape = (self._sums.shape[0], end - self._done, *rest)
            out = torch.empty(shape, device=self.device) if room is None else room(box)
            for part in self._unroll(box):
                low, high = part.start[0] - self._done, part.stop[0] - self._done
                self._finish(part, out[:, low:high])
            self._done = end
            yield box, out

    def _finish(self, part: Box, out: Tensor) -> None:
        sums = self._sums[:, self._place(part)]
        if self._totals is None:
            out.copy_(sums)
        else:
            lines = max(1, _TOTAL_BYTES // max(1, sums[0, :1].nbytes))
            first, last = part.start[0], part.stop[0]
            for low in range(first, last, lines):
                high = min(low + lines, last)
                some = slice(low - first, high - first)
                torch.div(sums[:, some], self._totals.lines(low, high), out=out[:, some])
        sums.zero_()

    def _unroll(self, box: Box) -> Iterator[Box]:
        """The box cut where the ring of lines begins again."""
        start, stop = box.start[0], box.stop[0]
        while start < stop:
            end = min(stop, (start // self._ring + 1) * self._ring)
            yield Box((start, *box.start[1:]), (end, *box.stop[1:]))
            start = end

    def _place(self, part: Box) -> slice:
        start = part.start[0] % self._ring
        return slice(start, start + part.stop[0] - part.start[0])
