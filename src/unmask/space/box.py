"""Half-open boxes and tilings for any number of axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod


@dataclass(frozen=True)
class Box:
    """A half-open box ``[start, stop)`` in voxels; it may reach outside an array."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.start) != len(self.stop):
            raise ValueError(f"Box: start {self.start} and stop {self.stop} differ in length.")

    @classmethod
    def of(cls, shape: Sequence[int]) -> Box:
        """The box that covers an array of ``shape``."""
        return cls((0,) * len(shape), tuple(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along every axis."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of voxels; 0 where any axis is empty."""
        return prod(max(0, n) for n in self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the box inside an array that contains it: ``array[..., *box.slices]``."""
        return tuple(map(slice, self.start, self.stop))

    def grow(self, halo: Sequence[int]) -> Box:
        """The box widened by ``halo`` voxels on both sides of each axis."""
        return Box(
            tuple(a - h for a, h in zip(self.start, halo, strict=True)),
            tuple(b + h for b, h in zip(self.stop, halo, strict=True)),
        )

    def clip(self, other: Box) -> Box:
        """The part of this box inside ``other``; empty (start == stop) where they do not meet."""
        start = tuple(
            min(max(a, lo), hi)
            for a, lo, hi in zip(self.start, other.start, other.stop, strict=True)
        )
        stop = tuple(
            max(min(b, hi), lo) for b, lo, hi in zip(self.stop, start, other.stop, strict=True)
        )
        return Box(start, stop)

    def shift(self, offset: Sequence[int]) -> Box:
        """The box moved by ``offset`` voxels."""
        return Box(
            tuple(a + d for a, d in zip(self.start, offset, strict=True)),
            tuple(b + d for b, d in zip(self.stop, offset, strict=True)),
        )

    def relative_to(self, other: Box) -> Box:
        """This box in the coordinates of ``other``'s corner."""
        return self.shift(tuple(-a for a in other.start))


@dataclass(frozen=True)
class Tile:
    """One unit of tiled work: read ``read`` (write + halo), keep ``write``."""

    read: Box
    write: Box


def tiles(shape: Sequence[int], block: Sequence[int], halo: Sequence[int]) -> Iterator[Tile]:
    """Partition ``shape`` into blocks in C order; each tile reads its block plus ``halo``, clipped.

    Args:
        shape: voxels along every axis.
        block: largest write box; the last block of an axis may be smaller.
        halo: extra voxels read on both sides.
    """
    whole = Box.of(shape)
    corners = product(*(range(0, n, b) for n, b in zip(shape, block, strict=True)))
    for corner in corners:
        write = Box(corner, tuple(a + b for a, b in zip(corner, block, strict=True))).clip(whole)
        yield Tile(read=write.grow(halo).clip(whole), write=write)
