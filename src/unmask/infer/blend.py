"""How overlapping windows are joined: weights, and the strip of lines that is still open.

Windows come in row order along the first spatial axis, so a line (all voxels of one index of that
axis) is finished as soon as a window starts behind it. Only the open lines are kept: memory does
not grow with the length of the first axis.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

import torch
from jaxtyping import Float32
from torch import Tensor

from unmask.space.box import Box

SIGMA = 1 / 8
FLOOR = 1e-3


def gaussian(window: Sequence[int]) -> Float32[Tensor, "*window"]:
    """Weight of every voxel of a window: a centred Gaussian of sigma 1/8 window, at least 1e-3.

    The floor keeps corners from vanishing in float32; it is applied to the product of the axes,
    as in MONAI's and MEDIAR's published inference (Lee et al. 2022, arXiv:2212.03465).
    """
    weight = torch.ones((), dtype=torch.float64)
    for length in window:
        offset = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
        weight = weight[..., None] * torch.exp(-0.5 * (offset / (SIGMA * length)) ** 2)
    return weight.clamp(min=FLOOR).float()


def kept(starts: Sequence[int], window: int, length: int) -> list[tuple[int, int]]:
    """Interval that each window answers for where nothing is blended: cuts halve the overlaps.

    The intervals partition ``[0, length)``; each one lies inside its window.
    """
    cuts = [0, *((a + window + b) // 2 for a, b in pairwise(starts)), length]
    return list(pairwise(cuts))


class Strip:
    """Sums of the open lines, in float32, in a ring of lines on the device of the scores."""

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
        self._space = Box.of(shape[1:])
        self._starts = starts
        self._weight = None if weight is None else weight.to(device)
        self._ring = min(lines, shape[1])
        self._sums = torch.zeros((shape[0], self._ring, *shape[2:]), device=device)
        self._columns = None if self._weight is None else self._column_sums(self._weight)
        self._done = first

    @property
    def device(self) -> torch.device:
        """Where the sums live."""
        return self._sums.device

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
        for part in self._unrolled(keep):
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
        length, *rest = self._space.shape
        last = length if stop >= length else stop // lines * lines
        while self._done < last:
            end = min((self._done // lines + 1) * lines, last)
            box = Box((self._done, *self._space.start[1:]), (end, *self._space.stop[1:]))
            shape = (self._sums.shape[0], end - self._done, *rest)
            out = torch.empty(shape, device=self.device) if room is None else room(box)
            for part in self._unrolled(box):
                low, high = part.start[0] - self._done, part.stop[0] - self._done
                self._finish(part, out[:, low:high])
            self._done = end
            yield box, out

    def _finish(self, part: Box, out: Tensor) -> None:
        sums = self._sums[:, self._place(part)]
        if self._columns is None:
            out.copy_(sums)
        else:
            torch.div(sums, self._total(part, self._columns), out=out)
        sums.zero_()

    def _total(self, part: Box, columns: Tensor) -> Tensor:
        """Sum of the weights over the voxels of whole lines."""
        total = torch.zeros(part.shape, device=columns.device)
        begin, end, height = part.start[0], part.stop[0], columns.shape[0]
        rows = self._starts[0]
        for start in rows[bisect_right(rows, begin - height) : bisect_left(rows, end)]:
            low, high = max(begin, start), min(end, start + height)
            total[low - begin : high - begin] += columns[low - start : high - start]
        return total

    def _column_sums(self, weight: Tensor) -> Tensor:
        """Weights summed over the windows of one row: ``(window[0], *space[1:])``.

        Every row has the same columns, so the sum over all windows is a sum of these over rows.
        """
        space, size = Box(self._space.start[1:], self._space.stop[1:]), tuple(weight.shape[1:])
        total = torch.zeros((weight.shape[0], *space.shape), device=weight.device)
        for start in product(*self._starts[1:]):
            window = Box(start, tuple(a + n for a, n in zip(start, size, strict=True)))
            inside = window.clip(space)
            total[:, *inside.slices] += weight[:, *inside.relative_to(window).slices]
        return total

    def _unrolled(self, box: Box) -> Iterator[Box]:
        """The box cut where the ring of lines begins anew."""
        start, stop = box.start[0], box.stop[0]
        while start < stop:
            end = min(stop, (start // self._ring + 1) * self._ring)
            yield Box((start, *box.start[1:]), (end, *box.stop[1:]))
            start = end

    def _place(self, part: Box) -> slice:
        start = part.start[0] % self._ring
        return slice(start, start + part.shape[0])
