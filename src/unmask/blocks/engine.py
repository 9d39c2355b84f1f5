"""The work of one block: a pure function of model, image and number, on whatever machine.

A block's labels are kept with their own ids, those inside the block first, beside those of the
slabs that it shares with its neighbours; from these the objects are joined over all blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from unmask.blocks.grid import Grid
from unmask.blocks.resume import block_file, weights_digest
from unmask.blocks.store import read_array, write_arrays
from unmask.data.finite import check_finite
from unmask.data.grid import AS_IT_IS, Place
from unmask.data.normalize import Measured
from unmask.errors import CheckpointError, DataError, message
from unmask.infer.agreement import ARRAYS, Shared, Verdict, compare, find_shared
from unmask.infer.load import load_predictor
from unmask.infer.notes import Facts, decode_scores
from unmask.infer.predictor import Origin, Predictor
from unmask.infer.sinks import read_scores
from unmask.io import Image, open_image
from unmask.io import cache as recent
from unmask.labels.dropped import Region
from unmask.labels.stitch import matched
from unmask.progress import Progress
from unmask.space.box import Box, Tile

# (block, windows done, windows in all) to nothing.
Tell = Callable[[int, int, int], None]

# Decoded parts of an image that are kept for the next block.
KEPT_BYTES = 8 << 20

NUMBERS = "numbers.npy"
OFFSETS = "offsets.npy"


@dataclass(frozen=True)
class ModelFiles:
    """Where a worker gets the predictor; a process loads it once.

    Attributes:
        origin: model files and settings, as every worker sees them.
        digest: of the weights that the run began with.
    """

    origin: Origin
    digest: str

    def __call__(self) -> Predictor:
        """The predictor."""
        return _loaded(self)


@dataclass(frozen=True)
class ImageFile:
    """Where a worker gets the image; a process opens it once.

    Attributes:
        source: path as every worker sees it.
        axes: axes of the file where it does not say itself.
        shape: ``(C, *space)`` that it has.
        place: what the network sees of it; None: all of it.
        allow_external: whether its values may be in other files.
        mark: what changes when its files do, so that a process that outlives a run opens a
            rewritten image again.
    """

    source: str
    axes: str | None
    shape: tuple[int, ...]
    place: Place | None = None
    allow_external: bool = False
    mark: str = ""

    def __call__(self) -> Image:
        """The image."""
        return _opened(self)


@dataclass(frozen=True)
class Job:
    """Everything that the work on a block needs.

    Attributes:
        predictor: gives the models.
        image: gives the image as the network sees it.
        grid: the blocks.
        measured: figures of the whole image.
        folder: where the files of blocks are.
        scores: joined scores of the whole image where they were written before; see ``sinks``.
    """

    predictor: Callable[[], Predictor]
    image: Callable[[], Image]
    grid: Grid
    measured: Measured
    folder: Path
    scores: Path | None = None


@dataclass(frozen=True)
class Known:
    """A normaliser for parts of an image that was measured as a whole."""

    measured: Measured

    def measure(self, image: np.ndarray) -> Measured:  # noqa: ARG002 - the protocol
        """What was measured."""
        return self.measured


def predict_block(job: Job, number: int, *, tell: Tell | None = None) -> tuple[int, Facts]:
    """Label one block and keep the result.

    Args:
        job: what to label.
        number: the block.
        tell: called with (block, windows done, windows in all).

    Returns:
        The block and what is known of it: ``top``, its largest id, ``own``, ids inside the block,
        and the facts behind the notes.

    Raises:
        DataError: a part of the image that cannot be read or is not finite, or scores that cannot
            be decoded.
        SaveError: the result could not be kept.
    """
    predictor, tile = job.predictor(), job.grid.tile(number)
    progress = None if tell is None else lambda done, total: tell(number, done, total)
    with recent.sparing(KEPT_BYTES):
        scores = _scores(job, number, progress)
    whole = zip(tile.read.start, tile.read.stop, job.grid.space, strict=True)
    ends = tuple((start > 0, stop < size) for start, stop, size in whole)
    region = Region(tile.write.relative_to(tile.read).slices, prod(job.grid.space), ends)
    labels, noted = decode_scores(
        predictor.task, scores, job.image(), region=region, trained=predictor.trained
    )
    del scores
    labels = np.asarray(labels)
    arrays, facts, renamed = _kept(labels, tile, job.grid.faces(number))
    if job.grid.halo:
        shared = find_shared(labels, job.grid, number)
        arrays |= replace(shared, ids=renamed[shared.ids].astype(np.int64)).arrays()
    write_arrays(block_file(job.folder, number), arrays, {**facts, **noted})
    return number, {**facts, **noted}


def joins(job: Job, number: int) -> list[tuple[Verdict, np.ndarray]]:
    """What a block and those around it that come later say of their objects.

    Returns:
        For each pair of blocks: the verdict, and ``(pairs, 2)`` ids here and there of objects that
        are joined.
    """
    found: list[tuple[Verdict, np.ndarray]] = []
    if not job.grid.halo:
        return found
    here = read_shared(job.folder, number)
    after = {job.grid.after(number, axis): axis for axis in range(len(job.grid.space))}
    for other in job.grid.around(number):
        if other < number:
            continue
        verdict = compare((number, other), here, read_shared(job.folder, other))
        pairs = verdict.same
        if other in after:
            slabs = [
                np.where(np.isin(slab, pairs[:, side]), 0, slab)
                for side, slab in enumerate(_slabs(job.folder, (number, other), after[other]))
            ]
            # Objects on which both agree are settled; they take no part in what is uncertain.
            pairs = np.concatenate([pairs, matched(slabs[0], slabs[1])])
        if len(pairs) or any(len(side) for side in verdict.other):
            found.append((verdict, pairs))
    return found


def read_shared(folder: Path, number: int) -> Shared:
    """The shared objects of a finished block."""
    return Shared.of({name: read_array(block_file(folder, number), name) for name in ARRAYS})


def _slabs(folder: Path, blocks: tuple[int, int], axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The voxels around a face, as both blocks labeled them."""
    here = read_array(block_file(folder, blocks[0]), f"{axis}+")
    return here, read_array(block_file(folder, blocks[1]), f"{axis}-")


def numbered(folder: Path, number: int) -> np.ndarray:
    """Labels of a block with the numbers of the whole image, where there are such."""
    labels = read_array(block_file(folder, number), "labels")
    if not (folder / NUMBERS).exists():
        return labels
    first, last = np.load(folder / OFFSETS, mmap_mode="r")[number : number + 2]
    numbers = np.load(folder / NUMBERS, mmap_mode="r")[first:last]
    return np.concatenate([[0], numbers])[labels]


def part_of(image: Image, box: Box) -> Image:
    """A box of an image as an image; values that are not finite are named by their whole index."""

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        moved = (slice(p.start + a, p.stop + a) for p, a in zip(index[1:], box.start, strict=True))
        array = image.fetch((index[0], *moved))
        corner = [part.start + a for part, a in zip(index, (0, *box.start), strict=True)]
        check_finite(array, image.source, corner=corner)
        return array

    return replace(image, shape=(image.shape[0], *box.shape), fetch=fetch, whole=False)


def kept(image: Image) -> Image:
    """The image, in memory where reading a part of the file costs as much as reading all."""
    if not image.whole:
        return image
    array = image.read()
    return replace(image, fetch=lambda index: array[index].copy(), whole=False)


def _scores(job: Job, number: int, progress: Progress | None) -> np.ndarray:
    """Scores of a block with its halo, ``(S, *space)``."""
    tile = job.grid.tile(number)
    if job.scores is not None:
        return read_scores(job.scores, tile.read)
    predictor = job.predictor()
    box = job.grid.needed(number, predictor.tiling)
    known = replace(predictor, normalize=Known(job.measured), view=AS_IT_IS)
    found = known.scores(part_of(job.image(), box), progress=progress)
    return np.ascontiguousarray(found[:, *tile.read.relative_to(box).slices])


def _kept(
    labels: np.ndarray, tile: Tile, faces: list[tuple[str, Box]]
) -> tuple[dict[str, np.ndarray], Facts, np.ndarray]:
    """Arrays of a block: its labels, and those of its faces; ids inside the block come first.

    Returns:
        Arrays, the number of ids, and the new id of every old one.
    """
    inside = tile.write.relative_to(tile.read).slices
    if tile.read == tile.write and not faces:
        top = int(labels.max(initial=0))
        same = np.arange(top + 1)
        facts = {"top": top, "own": top}
        return {"labels": labels.astype(np.min_scalar_type(top))}, facts, same
    slabs = {name: labels[box.relative_to(tile.read).slices] for name, box in faces}
    own = np.zeros(int(labels.max(initial=0)) + 1, bool)
    near = own.copy()
    own[labels[inside]] = True
    for slab in slabs.values():
        near[slab] = True
    own[0] = near[0] = False
    ids = np.concatenate([np.flatnonzero(own), np.flatnonzero(near & ~own)])
    table = np.zeros(len(own), np.min_scalar_type(len(ids)))
    table[ids] = np.arange(1, len(ids) + 1)
    arrays = {"labels": labels[inside], **slabs}
    facts = {"top": len(ids), "own": int(own.sum())}
    return {name: table[array] for name, array in arrays.items()}, facts, table


@lru_cache(maxsize=1)
def _loaded(files: ModelFiles) -> Predictor:
    origin = files.origin
    predictor = load_predictor(list(origin.models), origin.settings, allow_code=origin.allow_code)
    if files.digest != weights_digest(predictor):
        raise CheckpointError(
            message(
                ", ".join(files.origin.models),
                expected="the weights that the run began with",
                found="others",
                do="Do not replace a model during a run; give every worker the same files.",
            )
        )
    return predictor


@lru_cache(maxsize=1)
def _opened(file: ImageFile) -> Image:
    image = open_image(
        file.source,
        axes=file.axes,
        ndim=len(file.shape) - 1,
        allow_external=file.allow_external,
    )
    if image.shape != file.shape:
        raise DataError(
            message(
                file.source,
                expected=f"the image that the run began with, of shape {file.shape}",
                found=f"shape {image.shape}",
                do="Do not replace images during a run; give every worker the same files.",
            )
        )
    return kept(image if file.place is None else file.place.seen(image))
