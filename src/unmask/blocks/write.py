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

from unmask.atomic import remove, replace_folder, saving
from unmask.blocks.base import Output
from unmask.blocks.grid import Grid
from unmask.blocks.scheduler import Run
from unmask.data.grid import Place
from unmask.io import Image, cache, open_image
from unmask.io.copying import copy_image
from unmask.io.paths import format_of, locate
from unmask.io.pyramid import create_pyramid
from unmask.space.box import Box

# Longest side of a chunk where the store is the result, and where it becomes pages of a file.
_CUBE = 64
_PLANE = 512
# Voxels of a coarser level that are made at once.
_PIECE = 1 << 22
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
        dtype: of the labels.
        provenance: image, settings and versions behind the labels.
    """

    out: Output
    grid: Grid
    dtype: np.dtype[Any]
    provenance: Mapping[str, Any]


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
    final = form is not None and form.folder
    store = folder / ("labels.ome.zarr" if final else "pages.ome.zarr")
    with saving(path, RESUME):
        if place is not None and not place.still:
            result, read = _return_to_image(result, place, folder / "seen.ome.zarr", read, run)
        if not final and _are_pages(result.grid):
            copy_image(_paged(result, read), path, like=result.out.like)
            return
        _write_store(result, store, read, run, pages=not final)
        if final:
            # Blocks are dropped after this: what is written has to be on the disk by then.
            replace_folder(store, path)
        else:
            with cache.sparing(_KEPT_BYTES):
                labels = open_image(store, ndim=len(result.grid.space))
                copy_image(labels, path, like=result.out.like)


def _are_pages(grid: Grid) -> bool:
    """Whether every block is the whole of one position on the first axis, or a plane of it."""
    return grid.block[0] == 1 and grid.block[-2:] == grid.space[-2:] and len(grid) > 1


def _paged(result: Result, read: ReadLabels) -> Image:
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
    _write_store(result, store, read, run, pages=True)
    edges = tuple(min(a, b) for a, b in zip(result.grid.block, place.whole, strict=True))
    grid = Grid(place.whole, edges, 0)
    return replace(result, grid=grid), partial(_read_back, store, place, grid)


def _read_back(store: Path, place: Place, grid: Grid, number: int) -> np.ndarray:
    labels = open_image(store, ndim=len(grid.space))
    return place.part_back(labels, grid.tile(number).write)


def _write_store(result: Result, store: Path, read: ReadLabels, run: Run, *, pages: bool) -> None:
    remove(store)
    chunks = _chunks(result.grid.block, pages=pages)
    like = result.out.like
    levels = create_pyramid(
        store,
        result.grid.space,
        result.dtype,
        axes=like.axes[1:],
        chunks=chunks,
        spacing=like.spacing,
        unit=like.unit,
        provenance=result.provenance,
    )
    run(partial(_write_block, store, result.grid, read), range(len(result.grid)), _ignore)
    for number, level in enumerate(levels[1:] if not pages else (), 1):
        edges = _whole_chunks(
            [min(a, b) for a, b in zip(chunks, level.shape, strict=True)], level.shape
        )
        pieces = Grid(level.shape, edges, 0)
        run(partial(_thin_out, store, number, level.step, pieces), range(len(pieces)), _ignore)


def _write_block(store: Path, grid: Grid, read: ReadLabels, number: int) -> None:
    import zarr  # Most images are predicted at once, and the import takes 0.3 s.

    array: Any = zarr.open_array(store / "0", mode="r+")
    array[grid.tile(number).write.slices] = read(number).astype(array.dtype)


def _thin_out(store: Path, level: int, step: Sequence[int], pieces: Grid, number: int) -> None:
    """One piece of a coarser level out of the level before."""
    import zarr

    box = pieces.tile(number).write

    fine: Any = zarr.open_array(store / str(level - 1), mode="r")
    coarse: Any = zarr.open_array(store / str(level), mode="r+")
    bounds = zip(box.start, box.stop, step, fine.shape, strict=True)
    part = fine[tuple(slice(a * s, min(b * s, n)) for a, b, s, n in bounds)]
    coarse[box.slices] = part[tuple(slice(None, None, s) for s in step)]


def _chunks(block: Sequence[int], *, pages: bool) -> tuple[int, ...]:
    """Chunks that divide a block; thin ones if they become the pages of a file."""
    flat = len(block) - 2
    found = []
    for axis, length in enumerate(block):
        longest = _PLANE if axis >= flat and (pages or flat <= 0) else _CUBE
        if pages and axis < flat:
            longest = 1
        found.append(_divisor(length, longest))
    return tuple(found)


def _divisor(length: int, longest: int) -> int:
    """The largest divisor up to ``longest``; the length itself where there is hardly one."""
    if length <= longest:
        return length
    best = max(each for each in range(1, longest + 1) if length % each == 0)
    return best if 4 * best >= longest else length


def _whole_chunks(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Pieces of whole chunks, about as large as is quick to make."""
    edges = list(chunks)
    for axis in reversed(range(len(edges))):
        more = max(1, _PIECE // prod(edges))
        edges[axis] = min(edges[axis] * more, -(-shape[axis] // edges[axis]) * edges[axis])
    return tuple(edges)


def _ignore(_: Any) -> None:
    """Units that only write have no result."""
