"""How an image is cut into windows that overlap, for any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from unmask.errors import RecipeError
from unmask.space.box import Box

# A network of few channels needs some 100 bytes per voxel of a window: no machine holds more.
_LARGEST = 1 << 28
# Lengths of adapted windows are multiples of it, which networks with strides need not pad.
_MULTIPLE = 16


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into windows and joined again.

    Attributes:
        window: voxels along every axis; shorter axes of an image are padded on both sides.
        overlap: share of a window that the next one sees again.
        blend: ``gaussian`` averages, ``crop`` takes every voxel from the window it is most
            central in.
        pad: ``mirror`` as in training, or ``zero``.
        batch_size: windows at once; None: by the size of a window.
        mirrored: axes along which window positions are those of the mirrored image.
        adapt: voxels of the largest window that ``adapted`` may choose; None: windows stay.
        steps: voxels from a window to the next, along every axis; None: by the overlap.
    """

    window: tuple[int, ...]
    overlap: float = 0.25
    blend: str = "gaussian"
    pad: str = "mirror"
    batch_size: int | None = None
    mirrored: tuple[int, ...] = ()
    adapt: int | None = None
    steps: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.window or min(self.window) < 1 or not 0 <= self.overlap < 1:
            raise RecipeError(
                "infer: expected a window of at least 1 voxel per axis and 0 <= overlap < 1, found "
                f"tile={self.window}, overlap={self.overlap}. Change infer.tile or infer.overlap."
            )
        if prod(self.window) > _LARGEST:
            raise RecipeError(
                f"infer.tile={self.window}: expected at most {_LARGEST} voxels, found "
                f"{prod(self.window)}. Take a smaller infer.tile."
            )
        if self.blend not in {"gaussian", "crop"} or self.pad not in {"mirror", "zero"}:
            raise RecipeError(
                f"infer: expected blend gaussian or crop and pad mirror or zero, found "
                f"blend={self.blend!r}, pad={self.pad!r}. Change them."
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise RecipeError(f"infer.batch_size={self.batch_size}: expected 1 or more. Change it.")

    def positions(self, space: Sequence[int]) -> list[list[int]]:
        """First voxels of the windows along every axis; negative where the image is shorter."""
        found: list[list[int]] = []
        for axis, (length, window) in enumerate(zip(space, self.window, strict=True)):
            step = self._step(axis)
            along = starts(length, window, step)
            if length < window:
                along = [-((window - length) // 2)]
            if axis in self.mirrored:
                along = [length - window - start for start in reversed(along)]
            found.append(along)
        return found

    def adapted(self, space: Sequence[int]) -> Tiling:
        """The tiling for one image: as few windows as possible, evenly spread.

        Windows never get smaller, and have at most ``adapt`` voxels; they overlap by at least as
        many voxels as before. Fewer voxels are seen twice then. Without ``adapt``, or where nothing
        is gained, it is the same tiling.

        Examples:
            >>> tiling = Tiling((256, 256), adapt=8 * 256 * 256)
            >>> tiling.adapted((520, 696)).window, tiling.adapted((1024, 1024)).window
            ((528, 704), (544, 544))
        """
        if self.adapt is None or self.steps is not None:
            return self
        counts = [1] * len(space)
        window = self._windows(space, counts)
        while prod(window) > self.adapt:
            # The longest window is divided further, as long as it exceeds the given one.
            able = [n for n, size in enumerate(window) if size > self.window[n]]
            if not able:
                return self
            counts[max(able, key=lambda n: window[n])] += 1
            window = self._windows(space, counts)
        steps = tuple(
            ceil((length - size) / (count - 1)) if count > 1 else size
            for length, size, count in zip(space, window, counts, strict=True)
        )
        found = replace(self, window=window, steps=steps)
        return found if found.seen(space) < self.seen(space) else self

    def seen(self, space: Sequence[int]) -> int:
        """Voxels that a network sees of an image; those in several windows count several times."""
        return prod(self.window) * prod(len(along) for along in self.positions(space))

    def _step(self, axis: int) -> int:
        if self.steps is not None:
            return max(1, self.steps[axis])
        return max(1, int(self.window[axis] * (1 - self.overlap)))

    def _windows(self, space: Sequence[int], counts: Sequence[int]) -> tuple[int, ...]:
        """Lengths of so many windows that overlap by as many voxels as the given ones."""
        lengths: list[int] = []
        for axis, (length, count) in enumerate(zip(space, counts, strict=True)):
            lapped = self.window[axis] - self._step(axis)
            even = ceil((length - lapped) / count) + lapped
            longer = even > self.window[axis]
            lengths.append(ceil(even / _MULTIPLE) * _MULTIPLE if longer else self.window[axis])
        return tuple(lengths)

    def cover(self, box: Box, space: Sequence[int]) -> Box:
        """Box of the windows that touch ``box``, at the positions that they have in the image.

        Scores in ``box`` are exactly those of the whole image if all these windows are computed. So
        a block and its neighbor decode the same objects from the voxels that both of them read.
        """
        start, stop = [], []
        along = zip(self.positions(space), self.window, space, strict=True)
        for axis, (positions, window, length) in enumerate(along):
            low, high = box.start[axis], box.stop[axis]
            first = min(position for position in positions if position + window > low)
            last = max(position for position in positions if position < high)
            start.append(max(0, first))
            stop.append(min(length, last + window))
        return Box(tuple(start), tuple(stop))


def starts(length: int, window: int, step: int) -> list[int]:
    """Window positions that cover ``[0, length)``; the last one is moved back to end at ``length``.

    A window longer than the axis gives the single position 0.
    """
    if window <= 0 or step <= 0:
        raise ValueError(f"window {window} and step {step} must be positive.")
    if length <= window:
        return [0]
    positions = list(range(0, length - window, step))
    return [*positions, length - window]
