"""Joining blocks: 10^4 blocks with 10^6 objects, and components in blocks against one pass.

The objects are discs on a grid that does not fit the blocks, so that a share of them crosses faces.
What is timed is all that joining adds: the tables of all faces, union-find, and the final numbers
of all voxels; blocks are labeled before. Both results are compared with labels made in one pass.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from harness import interleave, measure, row, write
from unmask.blocks.grid import Grid
from unmask.labels import connected_components
from unmask.labels.stitch import match_ids, number_pieces

PITCH = 13


def discs(shape: tuple[int, ...]) -> np.ndarray:
    """Foreground of discs (balls) on a grid of ``PITCH`` voxels."""
    square = np.zeros(shape, np.int16)
    for axis, length in enumerate(shape):
        place = np.arange(length, dtype=np.int16) % PITCH - PITCH // 2
        square += (place**2).reshape([-1 if own == axis else 1 for own in range(len(shape))])
    return square < 22


class Blocks:
    """A volume labeled block by block, with what joining needs."""

    def __init__(self, foreground: np.ndarray, block: tuple[int, ...], halo: int) -> None:
        self.grid = Grid(foreground.shape, block, halo)
        self.tiles = [self.grid.tile(number) for number in range(len(self.grid))]
        self.faces: list[dict[str, np.ndarray]] = []
        self.labels: list[np.ndarray] = []
        tops, written = [0], []
        for number, tile in enumerate(self.tiles):
            labels = connected_components(foreground[tile.read.slices])
            own = labels[tile.write.relative_to(tile.read).slices].copy()
            self.labels.append(own)
            self.faces.append(
                {
                    name: labels[box.relative_to(tile.read).slices].copy()
                    for name, box in self.grid.faces(number)
                }
            )
            tops.append(int(labels.max()))
            seen = np.zeros(tops[-1] + 1, bool)
            seen[own] = True
            written.append(seen[1:])
        self.offsets, self.written = np.cumsum(tops), np.concatenate(written)

    def numbers(self) -> np.ndarray:
        """Number of every block's objects in the whole."""
        pairs = [np.zeros((0, 2), np.int64)]
        for number, faces in enumerate(self.faces):
            for name, here in faces.items():
                if name.endswith("+"):
                    other = self.grid.after(number, int(name[:-1]))
                    assert other is not None
                    table = match_ids(here, self.faces[other][f"{name[:-1]}-"])
                    pairs.append(table + self.offsets[[number, other]] - 1)
        return number_pieces(np.concatenate(pairs), self.written)

    def stitched(self) -> int:
        """Give all voxels their final numbers, block by block; number of objects."""
        numbers = self.numbers()
        for number, labels in enumerate(self.labels):
            first, last = self.offsets[number], self.offsets[number + 1]
            np.concatenate([[0], numbers[first:last]]).astype(np.uint32)[labels]
        return int(numbers.max())

    def whole(self) -> np.ndarray:
        """The labels of the whole volume."""
        numbers, result = self.numbers(), np.zeros(self.grid.space, np.int64)
        for number, (labels, tile) in enumerate(zip(self.labels, self.tiles, strict=True)):
            first, last = self.offsets[number], self.offsets[number + 1]
            result[tile.write.slices] = np.concatenate([[0], numbers[first:last]])[labels]
        return result


def equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two label images are the same up to their numbers."""
    pairs = np.unique(first.astype(np.int64) * (int(second.max()) + 1) + second)
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))


def main() -> None:
    rows = []
    foreground = discs((1000 * PITCH, 1000 * PITCH))
    blocks = Blocks(foreground, (130 - 7, 130 + 7), halo=8)
    count = 1000 * 1000
    assert blocks.stitched() == count
    seconds = {"ours": measure(blocks.stitched, 1)}
    note = f"{len(blocks.grid)} blocks, {count} objects in 2D; tables, union-find, final numbers"
    rows.append(row("join 10^4 blocks with 10^6 objects", seconds, note=note))
    for name, shape, block in [
        ("2048^2 in blocks of 512^2", (2048, 2048), (512, 512)),
        ("192^3 in blocks of 64^3", (192, 192, 192), (64, 64, 64)),
    ]:
        foreground = ndimage.gaussian_filter(np.random.default_rng(0).random(shape), 2) > 0.51
        assert equal(Blocks(foreground, block, halo=2).whole(), connected_components(foreground))
        both = {
            "ours": lambda f=foreground, b=block: Blocks(f, b, halo=2).stitched(),
            "peer": lambda f=foreground: connected_components(f),
        }
        note = "peer: our components in one pass; equal up to renaming"
        rows.append(row(f"label and join, {name}", interleave(both, 3), note=note))
    write("stitch", rows)


if __name__ == "__main__":
    main()
