"""How a volume is cut into blocks: their grid, what each reads, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from unmask.space.box import Box, Tile
from unmask.space.tiling import Tiling
from unmask.wording import format_count

# Images with more bytes of scores are predicted in blocks.
LARGE = 512 << 20
# Voxels on each side of a face that both blocks compare; see ``labels.stitch``.
_SLAB = 2
# What an automatic block may take, in bytes.
BUDGET = 1 << 30
# If the network sees voxels more often than this, storing the scores on the disk costs less.
_PASSES = 2.0
# Automatic blocks are multiples of this, so that chunks and tiles of files fit.
_UNIT = 64
# Bytes per voxel that decoding takes in addition to the scores: field, labels, paths; measured
# for flows.
_DECODING = 32
_DECODING_AXIS = 12


@dataclass(frozen=True)
class Grid:
    """Blocks in C order; their write boxes partition the volume.

    Attributes:
        space: voxels of the volume.
        block: voxels of a block; the last one of an axis may be smaller.
        halo: voxels around a block that decoding needs; 0: labels mean the same in all blocks.
    """

    space: tuple[int, ...]
    block: tuple[int, ...]
    halo: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along every axis."""
        return tuple(ceil(n / b) for n, b in zip(self.space, self.block, strict=True))

    def __len__(self) -> int:
        return prod(self.counts)

    def tile(self, number: int) -> Tile:
        """What block ``number`` writes, and that with its halo, both inside the volume."""
        cell = np.unravel_index(number, self.counts)
        low = [int(i) * edge for i, edge in zip(cell, self.block, strict=True)]
        ends = list(zip(low, self.block, self.space, strict=True))
        high = [min(start + edge, length) for start, edge, length in ends]
        read = Box(
            tuple(max(0, start - self.halo) for start in low),
            tuple(min(stop + self.halo, n) for stop, n in zip(high, self.space, strict=True)),
        )
        return Tile(read=read, write=Box(tuple(low), tuple(high)))

    def after(self, number: int, axis: int) -> int | None:
        """The next block along an axis."""
        cell = list(np.unravel_index(number, self.counts))
        cell[axis] += 1
        if cell[axis] == self.counts[axis]:
            return None
        return int(np.ravel_multi_index(cell, self.counts))

    def before(self, number: int, axis: int) -> int | None:
        """The block before along an axis."""
        cell = list(np.unravel_index(number, self.counts))
        cell[axis] -= 1
        return None if cell[axis] < 0 else int(np.ravel_multi_index(cell, self.counts))

    def slab(self, number: int, axis: int) -> Box:
        """Voxels around the face to the next block along ``axis``; both blocks have them.

        It reaches over the face's own edges: objects may pass through the corner of blocks.
        """
        write = self.tile(number).write
        reach = min(_SLAB, self.halo)
        grown = write.grow((reach,) * len(self.space))
        start, stop = list(grown.start), list(grown.stop)
        start[axis] = write.stop[axis] - reach
        return Box(tuple(start), tuple(stop)).clip(Box.of(self.space))

    def around(self, number: int) -> list[int]:
        """The other blocks that write into what a block reads."""
        return [each for each in self.inside(self.tile(number).read) if each != number]

    def inside(self, box: Box) -> list[int]:
        """The blocks that write into a box."""
        spans = [
            range(low // edge, ceil(high / edge))
            for low, high, edge in zip(box.start, box.stop, self.block, strict=True)
        ]
        cells = np.stack(np.meshgrid(*spans, indexing="ij"), -1).reshape(-1, len(spans))
        return np.ravel_multi_index(tuple(cells.T), self.counts).tolist()

    def faces(self, number: int) -> list[tuple[str, Box]]:
        """Name and box of every slab that the block shares with a neighbor.

        ``"1+"`` is the face to the next block along axis 1, ``"1-"`` that to the one before.
        """
        found: list[tuple[str, Box]] = []
        for axis in range(len(self.space)) if self.halo else ():
            if (previous := self.before(number, axis)) is not None:
                found.append((f"{axis}-", self.slab(previous, axis)))
            if self.after(number, axis) is not None:
                found.append((f"{axis}+", self.slab(number, axis)))
        return found


@dataclass(frozen=True)
class Forecast:
    """What a prediction in blocks will take.

    Attributes:
        blocks: number of blocks.
        block: their size in voxels.
        memory: bytes per block in work, in addition to model and program.
        passes: how often the network sees a voxel, compared with a prediction of the whole image.
        windows: windows of one block.
        stored: bytes of scores that are kept on the disk meanwhile; 0: none.
    """

    blocks: int
    block: tuple[int, ...]
    memory: int
    passes: float
    windows: int
    stored: int = 0

    def __str__(self) -> str:
        size = " x ".join(map(str, self.block))
        return (
            f"{format_count(self.blocks, 'block')} of {size} voxels, about "
            f"{self.memory / 1e9:.1f} GB of memory per block in work in addition to the model, "
            f"{self.passes:.1f} times the windows of the whole image"
            + (f", {self.stored / 1e9:.1f} GB of scores on the disk" if self.stored else "")
        )


def forecast_blocks(
    grid: Grid, tiling: Tiling, *, channels: int, classes: int, itemsize: int, store: bool | None
) -> Forecast:
    """Size, memory and cost of the blocks, and whether scores are better stored.

    Blocks with a wide halo let the network see most voxels several times. Then it runs over the
    image once and keeps the scores on the disk, if the lines in work fit into memory.

    Args:
        grid: the blocks.
        tiling: the windows.
        channels: of the image.
        classes: channels of the scores.
        itemsize: bytes of an image's value.
        store: keep the scores on the disk; None: if that saves more than half of the windows.
    """
    middle = int(np.ravel_multi_index([n // 2 for n in grid.counts], grid.counts))
    read = grid.tile(middle).read
    box = tiling.cover(read, grid.space)
    image = channels * (itemsize if itemsize <= 2 else 4)
    decoding = read.size * (4 * classes + _decoding(grid))
    memory = max(decoding, box.size * (4 * classes + image))
    whole = prod(len(places) for places in tiling.positions(grid.space))
    windows = prod(len(places) for places in tiling.positions(box.shape))
    passes = _all_windows(grid, tiling) / whole
    lines = 2 * tiling.window[0] * prod(grid.space[1:]) * (4 * classes + image)
    if store or (store is None and passes > _PASSES and lines <= BUDGET):
        nbytes = 4 * classes * prod(grid.space)
        return Forecast(len(grid), grid.block, max(decoding, lines), 1.0, windows, nbytes)
    return Forecast(len(grid), grid.block, memory, passes, windows)


def _all_windows(grid: Grid, tiling: Tiling) -> int:
    """Windows of all blocks: axes are independent, so the sum of products is one of sums."""
    total = 1
    for axis, count in enumerate(grid.counts):
        along = 0
        for place in range(count):
            cell = [place if own == axis else 0 for own in range(len(grid.counts))]
            read = grid.tile(int(np.ravel_multi_index(cell, grid.counts))).read
            box = tiling.cover(read, grid.space)
            along += len(tiling.positions(box.shape)[axis])
        total *= along
    return total


def choose_block(
    space: Sequence[int], *, halo: int, classes: int, budget: int = BUDGET
) -> tuple[int, ...]:
    """The largest block, of about equal sides, that is decoded within a budget of memory.

    Args:
        space: voxels of the volume.
        halo: voxels around a block.
        classes: channels of the scores.
        budget: bytes.
    """
    per_voxel = 4 * classes + _DECODING + (_DECODING_AXIS * len(space) if halo else 0)
    room = budget / per_voxel
    block = [0] * len(space)
    # Short axes are taken whole; what they leave goes to the others.
    order = sorted(range(len(space)), key=lambda axis: space[axis])
    for place, axis in enumerate(order):
        edge = room ** (1 / (len(space) - place))
        inner = max(int(edge - 2 * halo) // _UNIT * _UNIT, _UNIT)
        # Blocks of one size: a small rest at the end would cost as many borders as a large one.
        even = ceil(space[axis] / ceil(space[axis] / inner))
        block[axis] = min(space[axis], ceil(even / _UNIT) * _UNIT)
        room /= min(space[axis], block[axis] + 2 * halo)
    return tuple(block)


def _decoding(grid: Grid) -> int:
    return _DECODING + _DECODING_AXIS * len(grid.space) if grid.halo else 8
