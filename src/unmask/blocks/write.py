"""From finished blocks to one label image: final numbers, coarser levels, the user's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import remove, saving
from unmask.blocks.base import Output
from unmask.blocks.grid import Grid
from unmask.blocks.scheduler import Run
from unmask.data.grid import Place
from unmask.io import Image, cache, open_image
from unmask.io.copying import copy_image
from unmask.io.label_groups import is_in_place
from unmask.io.paths import format_of, locate
from unmask.io.pyramid import Level
from unmask.space.box import Box

# Longest side of a chunk of a store whose chunks become pages of a file.
_PLANE = 512
# Decoded chunks that are kept while pages are written: a row of them.
_KEPT_BYTES = 8 << 20
# Labels of whole planes that are kept while a file of a stack is written.
_PAGES_BYTES = 32 << 20

# What is kept when the disk is full.
RESUME = "Finished work is kept: resume with --resume. "

# Labels of block ``number`` with their final numbers.
ReadLabels = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Result:
    """The labels of a whole volume, on the grid of its blocks.

    Attributes:
        out: where they go.
        grid: blocks of the volume as it was labeled.
        largest: the largest label that there may be.
        provenance: image, settings and versions behind the labels.
    """

    out: Output
    grid: Grid
    largest: int
    provenance: Mapping[str, Any]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type for the labels."""
        return np.min_scalar_type(self.largest)


def write_labels(result: Result, folder: Path, read: ReadLabels, run: Run) -> None:
    """Write the label image from its blocks; it appears at its path when it is complete.

    Args:
        result: what to write.
        folder: where it may be built; on the disk of the result's path.
        read: labels of a block with their final numbers; called by ``run``.
        run: runs units, see ``scheduler``.

    Raises:
        SaveError: the disk is full or cannot be written.
    """
    path, place = result.out.path.absolute(), result.out.place
    form = format_of(locate(path))
    final = is_in_place(path) or (form is not None and form.folder)
    with saving(path, RESUME):
        if place is not None and not place.still:
            result, read = _return_to_image(result, place, folder / "seen.ome.zarr", read, run)
        if not final and _are_pages(result.grid):
            copy_image(_open_blocks(result, read), path, like=result.out.like)
            return
        if final:
            # Blocks are dropped after this: what is written has to be on the disk by then.
            _write_label_image(result, path, folder, read, run)
            return
        store = folder / "pages.ome.zarr"
        _write_pages(result, store, read, run)
        with cache.sparing(_KEPT_BYTES):
            labels = open_image(store, ndim=len(result.grid.space))
            copy_image(labels, path, like=result.out.like)


def _are_pages(grid: Grid) -> bool:
    """Whether every block is the whole of one position on the first axis, or a plane of it."""
    return grid.block[0] == 1 and grid.block[-2:] == grid.space[-2:] and len(grid) > 1


def _open_blocks(result: Result, read: ReadLabels) -> Image:
    """The labels as an image that is read from the blocks, of which the last ones are kept."""
    grid, like = result.grid, result.out.like
    size = prod(grid.block) * result.dtype.itemsize
    kept = lru_cache(max(1, _PAGES_BYTES // size))(lambda number: read(number).astype(result.dtype))

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        box = Box(tuple(part.start for part in index[1:]), tuple(part.stop for part in index[1:]))
        found = np.empty(box.shape, result.dtype)
        ends = zip(box.start, box.stop, grid.block, strict=True)
        for cell in product(*(range(low // edge, -(-high // edge)) for low, high, edge in ends)):
            number = int(np.ravel_multi_index(cell, grid.counts))
            write = grid.tile(number).write
            part = write.clip(box)
            values = kept(number)[part.relative_to(write).slices]
            found[part.relative_to(box).slices] = values
        return found[None]

    return replace(like, shape=(1, *grid.space), dtype=result.dtype, fetch=fetch, whole=False)


def _return_to_image(
    result: Result, place: Place, store: Path, read: ReadLabels, run: Run
) -> tuple[Result, ReadLabels]:
    """The result on the image's own grid, from a store of what the network saw."""
    _write_pages(result, store, read, run)
    edges = tuple(min(a, b) for a, b in zip(result.grid.block, place.whole, strict=True))
    grid = Grid(place.whole, edges, 0)
    return replace(result, grid=grid), partial(_read_back, store, place, grid)


def _read_back(store: Path, place: Place, grid: Grid, number: int) -> np.ndarray:
    labels = open_image(store, ndim=len(grid.space))
    return place.part_back(labels, grid.tile(number).write)


def _write_pages(result: Result, store: Path, read: ReadLabels, run: Run) -> None:
    """Write the labels as a plain image, which is read again page by page."""
    from unmask.io.zarr import create_zarr  # Most images are predicted at once.

    remove(store)
    like = result.out.like
    create_zarr(
        store, result.grid.space, result.dtype, axes=like.axes[1:],
        chunks=_page_chunks(result.grid.block), spacing=like.spacing, unit=like.unit,
    )  # fmt: skip
    write = partial(_write_box, store, result.grid, read, result.grid)
    run(write, range(len(result.grid)), _ignore)


def _write_label_image(
    result: Result, path: Path, folder: Path, read: ReadLabels, run: Run
) -> None:
    """Write the labels with all levels; their chunks do not depend on the blocks."""
    from unmask.io.label_store import LabelSpec, label_folder
    from unmask.io.pyramid import label_chunks, piece_edges

    space, like = result.grid.space, result.out.like
    spec = LabelSpec(
        result.out.name, space, result.dtype, result.largest, like.axes[1:], like, result.provenance
    )
    chunks = label_chunks(space, still=spec.still)
    edges = [
        min(-(-edge // chunk) * chunk, length)
        for edge, chunk, length in zip(result.grid.block, chunks, space, strict=True)
    ]
    parts = Grid(space, tuple(edges), 0)
    with label_folder(path, spec, work=folder, kept=RESUME) as (image, levels):
        run(partial(_write_box, image, result.grid, read, parts), range(len(parts)), _ignore)
        for number, level in enumerate(levels[1:], 1):
            edges = piece_edges(level.shape, label_chunks(level.shape, still=spec.still))
            pieces = Grid(tuple(level.shape), edges, 0)
            run(partial(_thin_out, image, number, level, pieces), range(len(pieces)), _ignore)


def _write_box(store: Path, grid: Grid, read: ReadLabels, parts: Grid, number: int) -> None:
    """Write one box of whole chunks out of all blocks that reach into it.

    Boxes are given as a grid: a list of them would travel to the workers with every unit.
    """
    import zarr  # Most images are predicted at once, and the import takes 0.3 s.

    array: Any = zarr.open_array(store / "0", mode="r+")
    box = parts.tile(number).write
    values = np.empty(box.shape, array.dtype)
    for block in grid.inside(box):
        write = grid.tile(block).write
        part = box.clip(write)
        here, there = part.relative_to(box).slices, part.relative_to(write).slices
        values[here] = read(block)[there]
    array[box.slices] = values


def _thin_out(folder: Path, number: int, level: Level, pieces: Grid, piece: int) -> None:
    """One piece of a coarser level out of the level before."""
    from unmask.io.label_store import fill_piece

    fill_piece(folder, number, level, pieces.tile(piece).write)


def _page_chunks(block: Sequence[int]) -> tuple[int, ...]:
    """Thin chunks that divide a block, which become the pages of a file."""
    flat = len(block) - 2
    return tuple(1 if axis < flat else _divisor(n, _PLANE) for axis, n in enumerate(block))


def _divisor(length: int, longest: int) -> int:
    """The largest divisor up to ``longest``; the length itself where there is hardly one."""
    if length <= longest:
        return length
    best = max(each for each in range(1, longest + 1) if length % each == 0)
    return best if 4 * best >= longest else length


def _ignore(_: Any) -> None:
    """Units that only write have no result."""
