"""From finished blocks to one label image: final numbers, coarser levels, the user's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.atomic import remove, replace_folder, saving
from unmask.blocks.grid import Grid
from unmask.blocks.scheduler import Run
from unmask.data.grid import Place
from unmask.io import Image, open_image
from unmask.io import cache as recent
from unmask.io.copying import copy_image
from unmask.io.paths import format_of, locate
from unmask.io.pyramid import create_pyramid

# Longest side of a chunk where the store is the result, and where it becomes pages of a file.
_CUBE = 64
_PLANE = 512
# Voxels of a coarser level that are made at once.
_PIECE = 1 << 22
# Decoded chunks that are kept while pages are written: a row of them.
_KEPT_BYTES = 8 << 20

# What is kept when the disk is full.
RESUME = "Finished work is kept: go on with --resume. "

# Labels of block ``number`` with their final numbers.
Numbered = Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Result:
    """Where the labels of a whole volume go.

    Attributes:
        path: the file or folder.
        grid: blocks of the volume as the network sees it.
        dtype: of the labels.
        like: the image they belong to.
        provenance: image, settings and versions behind the labels.
        place: what the network sees of the image; None: all of it.
    """

    path: Path
    grid: Grid
    dtype: np.dtype[Any]
    like: Image
    provenance: Mapping[str, Any]
    place: Place | None = None


def assemble(result: Result, folder: Path, numbered: Numbered, run: Run) -> None:
    """Write the label image from its blocks; it appears at its path when it is complete.

    Args:
        result: what to write.
        folder: where it may be built; on the disk of the result's path.
        numbered: labels of a block; called by ``run``.
        run: runs units, see ``dispatch``.

    Raises:
        SaveError: the disk is full or cannot be written.
    """
    form = format_of(locate(result.path))
    final = form is not None and form.folder
    store = folder / ("labels.ome.zarr" if final else "pages.ome.zarr")
    with saving(result.path, RESUME):
        if result.place is not None and not result.place.still:
            seen = folder / "seen.ome.zarr"
            result, numbered = _on_own_grid(result, result.place, seen, numbered, run)
        _write_store(result, store, numbered, run, pages=not final)
        if final:
            # Blocks are dropped after this: what is written has to be on the disk by then.
            replace_folder(store, result.path)
        else:
            with recent.sparing(_KEPT_BYTES):
                copy_image(_opened(store, len(result.grid.space)), result.path, like=result.like)


def _on_own_grid(
    result: Result, place: Place, store: Path, numbered: Numbered, run: Run
) -> tuple[Result, Numbered]:
    """The result on the image's own grid, out of a store of what the network saw."""
    _write_store(result, store, numbered, run, pages=True)
    whole = place.whole
    edges = tuple(min(a, b) for a, b in zip(result.grid.block, whole, strict=True))
    grid = Grid(whole, edges, 0)
    return replace(result, grid=grid), partial(_taken_back, store, place, grid)


def _taken_back(store: Path, place: Place, grid: Grid, number: int) -> np.ndarray:
    return place.part_back(_opened(store, len(grid.space)), grid.tile(number).write)


def _write_store(result: Result, store: Path, numbered: Numbered, run: Run, *, pages: bool) -> None:
    remove(store)
    space = result.grid.space
    chunks = _chunks(result.grid.block, pages=pages)
    found = create_pyramid(
        store,
        space,
        result.dtype,
        axes=result.like.axes[1:],
        chunks=chunks,
        spacing=result.like.spacing,
        unit=result.like.unit,
        provenance=result.provenance,
    )
    run(partial(_write_block, store, result.grid, numbered), range(len(result.grid)), _ignore)
    for number, level in enumerate(found[1:] if not pages else (), 1):
        edges = _whole_chunks(
            [min(a, b) for a, b in zip(chunks, level.shape, strict=True)], level.shape
        )
        pieces = Grid(level.shape, edges, 0)
        run(partial(_thin_out, store, number, level.step, pieces), range(len(pieces)), _ignore)


def _write_block(store: Path, grid: Grid, numbered: Numbered, number: int) -> None:
    import zarr  # Most images are predicted at once, and the import takes 0.3 s.

    array: Any = zarr.open_array(store / "0", mode="r+")
    array[grid.tile(number).write.slices] = numbered(number).astype(array.dtype)


def _thin_out(store: Path, level: int, step: Sequence[int], pieces: Grid, number: int) -> None:
    """One piece of a coarser level out of the level before."""
    box = pieces.tile(number).write
    import zarr

    fine: Any = zarr.open_array(store / str(level - 1), mode="r")
    coarse: Any = zarr.open_array(store / str(level), mode="r+")
    bounds = zip(box.start, box.stop, step, fine.shape, strict=True)
    part = fine[tuple(slice(a * s, min(b * s, n)) for a, b, s, n in bounds)]
    coarse[box.slices] = part[tuple(slice(None, None, s) for s in step)]


def _chunks(block: Sequence[int], *, pages: bool) -> tuple[int, ...]:
    """Chunks that divide a block; thin ones where they become the pages of a file."""
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


def _opened(store: Path, ndim: int) -> Image:
    return open_image(store, ndim=ndim)


def _ignore(_: Any) -> None:
    """A unit that only writes has nothing to tell."""
