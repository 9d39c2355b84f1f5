"""From objects of single blocks to objects of the volume, through the files of the blocks.

The file of a block holds its labels, those of the slabs that it shares with its neighbors, and its
shared objects (`agreement`). Ids of objects with voxels inside the block come first. Union-find
over all pairs of blocks gives every object its final number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.atomic import atomic_path
from unmask.blocks.agreement import ARRAYS, Shared, Verdict, compare, find_shared
from unmask.blocks.base import Doubts, Facts
from unmask.blocks.grid import Grid
from unmask.blocks.resume import block_file
from unmask.blocks.scheduler import Run
from unmask.blocks.store import read_arrays
from unmask.labels.stitch import match_ids, number_pieces

# Final number of every id of every block, and where the ids of each block begin.
_NUMBERS = "numbers.npy"
_OFFSETS = "offsets.npy"


def split_labels(
    labels: np.ndarray, grid: Grid, number: int
) -> tuple[dict[str, np.ndarray], Facts]:
    """What is kept of the labels of a block, and of the slabs that it shares with its neighbors.

    Returns:
        Arrays by name, and two facts: ``top`` is the largest id, ``own`` counts the ids inside the
        block.
    """
    tile, faces = grid.tile(number), grid.faces(number)
    if tile.read == tile.write and not faces:
        top = int(labels.max(initial=0))
        arrays = {"labels": labels.astype(np.min_scalar_type(top))}
        facts, ids = {"top": top, "own": top}, np.arange(top + 1)
    else:
        slabs = {name: labels[box.relative_to(tile.read).slices] for name, box in faces}
        inside = labels[tile.write.relative_to(tile.read).slices]
        ids, facts = _renumber(int(labels.max(initial=0)), inside, list(slabs.values()))
        arrays = {name: ids[array] for name, array in {"labels": inside, **slabs}.items()}
    if grid.halo:
        shared = find_shared(labels, grid, number)
        arrays |= replace(shared, ids=ids[shared.ids].astype(np.int64)).arrays()
    return arrays, facts


def stitch_blocks(grid: Grid, folder: Path, facts: Sequence[Facts], run: Run) -> tuple[int, Doubts]:
    """Write the final number of every id of every block; the largest one, and doubtful objects.

    Args:
        grid: the blocks; without a halo labels stay as they are.
        folder: of the files of the blocks.
        facts: of every block, see ``split_labels``.
        run: see ``scheduler``.
    """
    if not grid.halo:
        nothing = Doubts((), np.zeros((0, 2, len(grid.space)), np.int64))
        return max(each["top"] for each in facts), nothing
    offsets = np.concatenate([[0], np.cumsum([each["top"] for each in facts])]).astype(np.int64)
    written = np.zeros(offsets[-1], bool)
    for first, each in zip(offsets[:-1], facts, strict=True):
        written[first : first + each["own"]] = True
    pairs, doubted = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]

    def gather(verdicts: list[tuple[Verdict, np.ndarray]]) -> None:
        for verdict, table in verdicts:
            here = offsets[list(verdict.blocks)] - 1
            pairs.append(table + here)
            doubted.extend(ids + first for ids, first in zip(verdict.other, here, strict=True))

    run(partial(compare_neighbors, grid, folder), range(len(grid)), gather)
    numbers = number_pieces(np.concatenate(pairs), written)
    write_numbers(folder, numbers, offsets)
    doubts = _find_doubts(grid, folder, numbers, offsets, np.concatenate(doubted))
    return int(numbers.max(initial=0)), doubts


def compare_neighbors(
    grid: Grid, folder: Path, number: int
) -> list[tuple[Verdict, NDArray[np.int64]]]:
    """Compare the objects of a block with those of the later blocks around it.

    Returns:
        For each pair of blocks: the verdict, and ``(pairs, 2)`` ids here and there of objects that
        are joined.
    """
    verdicts: list[tuple[Verdict, np.ndarray]] = []
    here = _read_shared(folder, number)
    after = {grid.after(number, axis): axis for axis in range(len(grid.space))}
    for other in grid.around(number):
        if other < number:
            continue
        verdict = compare((number, other), here, _read_shared(folder, other))
        pairs = verdict.same
        if other in after:
            # Objects on which both agree are settled; they take no part in what is uncertain.
            slabs = [
                np.where(np.isin(slab, pairs[:, side]), 0, slab)
                for side, slab in enumerate(_read_slabs(folder, (number, other), after[other]))
            ]
            pairs = np.concatenate([pairs, match_ids(slabs[0], slabs[1])])
        if len(pairs) or any(len(side) for side in verdict.other):
            verdicts.append((verdict, pairs))
    return verdicts


def write_numbers(folder: Path, numbers: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Keep the final number of every id, and where the ids of each block begin."""
    for name, array in {_NUMBERS: numbers, _OFFSETS: offsets}.items():
        with atomic_path(folder / name) as aside:
            np.save(aside, array)


def read_labels(folder: Path, number: int) -> np.ndarray:
    """Labels of a block, with final numbers where blocks were stitched."""
    labels = read_arrays(block_file(folder, number), ["labels"])[0]
    if not (folder / _NUMBERS).exists():
        return labels
    first, last = np.load(folder / _OFFSETS, mmap_mode="r")[number : number + 2]
    numbers = np.load(folder / _NUMBERS, mmap_mode="r")[first:last]
    return np.concatenate([[0], numbers])[labels]


def _renumber(
    top: int, inside: np.ndarray, slabs: Sequence[np.ndarray]
) -> tuple[np.ndarray, Facts]:
    """The new id of every old one: ids inside the block first, then those of its slabs, then 0."""
    own = np.zeros(top + 1, bool)
    near = own.copy()
    own[inside] = True
    for slab in slabs:
        near[slab] = True
    own[0] = near[0] = False
    ids = np.concatenate([np.flatnonzero(own), np.flatnonzero(near & ~own)])
    table = np.zeros(len(own), np.min_scalar_type(len(ids)))
    table[ids] = np.arange(1, len(ids) + 1)
    return table, {"top": len(ids), "own": int(own.sum())}


def _find_doubts(
    grid: Grid,
    folder: Path,
    numbers: np.ndarray,
    offsets: np.ndarray,
    doubted: NDArray[np.int64],
) -> Doubts:
    """The objects on which blocks do not agree, and what they cover."""
    chosen = np.zeros(int(numbers.max(initial=0)) + 1, bool)
    chosen[numbers[doubted]] = True
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(len(grid)):
        shared = _read_shared(folder, number)
        final = numbers[shared.ids + offsets[number] - 1]
        chosen[final[shared.cut]] = True
        seen.append((final, shared.boxes))
    chosen[0] = False
    ids = np.flatnonzero(chosen)
    low = np.full((len(ids), len(grid.space)), np.iinfo(np.int64).max)
    high = np.zeros_like(low)
    for final, boxes in seen:
        here = chosen[final]
        position = np.searchsorted(ids, final[here])
        np.minimum.at(low, position, boxes[here, 0])
        np.maximum.at(high, position, boxes[here, 1])
    return Doubts(ids.tolist(), np.stack([low, high], axis=1))


def _read_shared(folder: Path, number: int) -> Shared:
    """The shared objects of a finished block."""
    return Shared(*read_arrays(block_file(folder, number), ARRAYS))


def _read_slabs(folder: Path, blocks: tuple[int, int], axis: int) -> list[np.ndarray]:
    """The voxels around a face, as both blocks labeled them."""
    return [
        read_arrays(block_file(folder, number), [f"{axis}{side}"])[0]
        for number, side in zip(blocks, "+-", strict=True)
    ]
