"""Prediction block by block: volumes of any size, on one machine or many, resumable.

Every block is labelled on its own (``infer.units``) and kept as one verified file; then the objects
of neighbouring blocks are joined (``labels.stitch``), and everything is written with its final
numbers (``infer.assembly``).
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unmask.atomic import atomic_path, replace_folder, saving
from unmask.blocks import engine as units
from unmask.blocks.engine import ImageFile, Job, ModelFiles
from unmask.blocks.grid import Forecast, Grid, automatic, forecast
from unmask.blocks.resume import files_mark, plan_of, weights_digest, workplace
from unmask.blocks.scheduler import Run, scheduler
from unmask.blocks.write import RESUME, Result, assemble
from unmask.data.grid import AS_IT_IS, Place
from unmask.errors import DataError, RecipeError, message
from unmask.infer.agreement import Verdict, cut_note, doubt_note
from unmask.infer.notes import Facts, describe
from unmask.infer.predictor import Predictor
from unmask.infer.sinks import ZarrSink
from unmask.infer.source import ImageSource
from unmask.infer.tiles import Progress
from unmask.io import Image, open_image
from unmask.io import cache as recent
from unmask.io.multi_file import files_of
from unmask.io.paths import locate
from unmask.labels.stitch import joined
from unmask.space.box import Box
from unmask.tasks.base import Undivided

# Stored scores, while an output is in work.
SCORES = "scores.zarr"
# Ids of objects, and the box of each.
Doubts = tuple[list[int], NDArray[np.int64]]


def plan_blocks(
    predictor: Predictor,
    image: Image,
    block: Sequence[int] | None = None,
    *,
    store: bool | None = None,
) -> tuple[Grid, Forecast]:
    """The blocks of an image and what they will take.

    Args:
        predictor: models, task and tiling.
        image: the image as the network sees it, see ``Predictor.view``.
        block: voxels of a block; None: those of the predictor, or as large as memory allows.
        store: keep the scores on the disk meanwhile; None: where that is much quicker.

    Raises:
        DataError: the image has another number of axes than the model.
        RecipeError: blocks of another number of axes; labels that need the whole image.
    """
    space, task, block = tuple(image.shape[1:]), predictor.task, block or predictor.block
    if len(space) != predictor.ndim:
        raise DataError(
            message(
                image.source,
                expected=f"{predictor.ndim} spatial axes as the model has",
                found=f"{len(space)} (size {space})",
                do="Use a model for them, or name the file's axes (--set data.axes=ZYX).",
            )
        )
    if block is not None and (len(block) != len(space) or min(block) < 1):
        raise RecipeError(
            f"infer.block={tuple(block)}: expected {len(space)} numbers of 1 or more, one for each "
            "axis of the image. Correct it, or leave it out."
        )
    chosen = block or automatic(space, halo=task.context, classes=task.channels())
    edges = tuple(min(a, b) for a, b in zip(chosen, space, strict=True))
    grid = Grid(space, edges, task.context)
    if len(grid) > 1 and isinstance(task, Undivided):
        task.check_blocks()
    return grid, forecast(
        grid,
        predictor.tiling,
        channels=predictor.channels,
        classes=task.channels(),
        itemsize=image.dtype.itemsize,
        # Mirrored positions need several runs over the image, which a store cannot add up.
        store=False if predictor.mirror_positions and store is None else store,
    )


def predict_blocks(  # noqa: PLR0913 - what a run is given, each once
    predictor: Predictor,
    image: Image | np.ndarray,
    out: str | Path,
    *,
    block: Sequence[int] | None = None,
    cluster: str | None = None,
    scores: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Label an image of any size into a file, block by block.

    The labels are those of ``Predictor.predict`` up to their numbers, as far as the task's context
    holds; so they do not depend on the blocks, on their order, or on who computed them. Finished
    blocks are kept in the folder ``.predict`` beside the result until that is complete.

    Args:
        predictor: models, task and tiling.
        image: opened image or array.
        out: label file; OME-Zarr gets coarser levels, other formats are written part by part.
        block: voxels of a block; None: those of the predictor, or as large as memory allows.
        cluster: None for threads of this process, else see ``dispatch.scheduler``.
        scores: keep the joined scores in this Zarr array. They are written first, in one pass of
            this process, and decoded from there.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (windows done, windows in all).
        say: gets what a user should know of the labels, such as objects that were removed.

    Returns:
        Number of objects; the largest label where labels are classes.

    Raises:
        DataError: the image does not fit the model or is damaged; names file and place.
        CheckpointError: another run works on this output, or an ended one had other settings.
        RecipeError: labels that need the whole image.
        SaveError: the disk is full; finished blocks are kept.
    """
    if isinstance(image, np.ndarray):
        image = Image.from_array(image, ndim=predictor.ndim)
    store = True if scores is not None else None if cluster is None else False
    whole, place = image, predictor.view.place(image)
    image = place.seen(image)
    grid, cost = plan_blocks(predictor, image, block, store=store)
    image = units.kept(image)
    with recent.sparing(units.KEPT_BYTES):
        measured = ImageSource(
            image, channels=predictor.channels, normalize=predictor.normalize
        ).measured
    plan = plan_of(predictor, image, grid, measured)
    with workplace(Path(out), plan, resume=resume) as (folder, facts):
        job = Job(lambda: predictor, lambda: image, grid, measured, folder.absolute())
        if cluster is not None:
            job = _sent(job, predictor, whole, place)
        shown = _Shown(progress, len(grid), cost.windows, len(facts))
        tell = shown.within if cluster is None and progress is not None else None
        if cost.stored and (scores is not None or len(facts) < len(grid)):
            job = _with_scores(job, predictor, image, progress)

        def done(result: tuple[int, Facts]) -> None:
            facts[result[0]] = result[1]
            shown.done(result[0])

        missing = [number for number in range(len(grid)) if number not in facts]
        with scheduler(cluster, workers=_threads(predictor)) as run:
            run(partial(units.predict_block, job, tell=tell), missing, done)
            top, doubts = _numbers(job, facts, run)
            dtype = np.min_scalar_type(top)
            result = Result(Path(out).absolute(), grid, dtype, whole, plan.provenance, place)
            assemble(result, job.folder, partial(units.numbered, job.folder), run)
        if scores is not None:
            with saving(Path(scores), RESUME):
                replace_folder(_scores_back(folder / SCORES, whole, place), Path(scores).absolute())
        total = Counter[str]()
        for each in facts.values():
            total.update(each)
    if say is not None:
        noted = describe(predictor.task, total, place, predictor.trained)
        seen = (
            *doubt_note(grid, predictor.task, *doubts),
            *cut_note(grid, predictor.task, total["cut"]),
        )
        for note in (*noted, *seen):
            say(note)
    return top


def _with_scores(job: Job, predictor: Predictor, image: Image, progress: Progress | None) -> Job:
    """The job with stored scores, those of an ended run completed."""
    path = job.folder / SCORES
    sink = ZarrSink(path, spacing=image.spacing, resume=True)
    predictor = replace(predictor, view=AS_IT_IS)
    with saving(path, RESUME):
        predictor.write_scores(image, sink, first=sink.lines, progress=progress)
    return replace(job, scores=path)


def _scores_back(store: Path, image: Image, place: Place) -> Path:
    """Stored scores on the image's own grid."""
    if place.still:
        return store
    seen = open_image(store, ndim=image.ndim)
    sink = ZarrSink(store.with_name("scores-back.zarr"), spacing=image.spacing)
    lines = sink.open((seen.shape[0], *place.whole))
    for start in range(0, place.whole[0], lines):
        stop = min(start + lines, place.whole[0])
        rest = place.whole[1:]
        box = Box((start, *(0 for _ in rest)), (stop, *rest))
        sink.write(box, place.scores_back(seen, box))
    return sink.path


def _numbers(job: Job, facts: dict[int, Facts], run: Run) -> tuple[int, Doubts]:
    """Keep the number of every block's ids in the whole image; the largest one, and doubts."""
    every = [facts[number] for number in range(len(job.grid))]
    nothing = [], np.zeros((0, 2, len(job.grid.space)), np.int64)
    if not job.grid.halo:
        return max(each["top"] for each in every), nothing
    offsets = np.concatenate([[0], np.cumsum([each["top"] for each in every])]).astype(np.int64)
    written = np.zeros(offsets[-1], bool)
    for first, each in zip(offsets[:-1], every, strict=True):
        written[first : first + each["own"]] = True
    pairs, doubted = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]

    def done(found: list[tuple[Verdict, np.ndarray]]) -> None:
        for verdict, table in found:
            here = offsets[list(verdict.blocks)] - 1
            pairs.append(table + here)
            doubted.extend(ids + first for ids, first in zip(verdict.other, here, strict=True))

    run(partial(units.joins, job), range(len(job.grid)), done)
    numbers = joined(np.concatenate(pairs), written)
    for name, array in {units.NUMBERS: numbers, units.OFFSETS: offsets}.items():
        with atomic_path(job.folder / name) as aside:
            np.save(aside, array)
    return int(numbers.max(initial=0)), _doubts(job, numbers, offsets, np.concatenate(doubted))


def _doubts(
    job: Job, numbers: np.ndarray, offsets: np.ndarray, doubted: NDArray[np.int64]
) -> Doubts:
    """Final numbers of the objects on which blocks do not agree, and what they cover."""
    chosen = np.zeros(int(numbers.max(initial=0)) + 1, bool)
    chosen[numbers[doubted]] = True
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    for number in range(len(job.grid)):
        shared = units.read_shared(job.folder, number)
        final = numbers[shared.ids + offsets[number] - 1]
        chosen[final[shared.cut]] = True
        seen.append((final, shared.boxes))
    chosen[0] = False
    ids = np.flatnonzero(chosen)
    low = np.full((len(ids), len(job.grid.space)), np.iinfo(np.int64).max)
    high = np.zeros_like(low)
    for final, boxes in seen:
        here = chosen[final]
        place = np.searchsorted(ids, final[here])
        np.minimum.at(low, place, boxes[here, 0])
        np.maximum.at(high, place, boxes[here, 1])
    return ids.tolist(), np.stack([low, high], axis=1)


def _sent(job: Job, predictor: Predictor, image: Image, place: Place) -> Job:
    """The job as workers elsewhere can do it: with paths in place of what is in memory.

    Raises:
        RecipeError: there are no paths.
    """
    there = all(locate(file).path.exists() for file in files_of(image.source))
    if predictor.origin is None or not there:
        raise RecipeError(
            "--cluster: expected models and images in files that every worker can read, found some "
            "in memory. Give paths, or leave out the cluster."
        )
    axes = None if predictor.layout is None else predictor.layout.axes
    source, mark = str(Path(image.source).absolute()), files_mark(image)
    return replace(
        job,
        predictor=ModelFiles(predictor.origin, weights_digest(predictor)),
        image=ImageFile(
            source,
            axes,
            image.shape,
            place,
            allow_external=bool(image.meta.get("allow_external")),
            mark=mark,
        ),
    )


def _threads(predictor: Predictor) -> int:
    """Blocks at once: on a CPU the network takes all cores, beside a GPU decoding is slower."""
    return 1 if str(predictor.device) == "cpu" else min(4, os.cpu_count() or 1)


class _Shown:
    """Windows done in all blocks together."""

    def __init__(self, progress: Progress | None, blocks: int, windows: int, finished: int) -> None:
        self._progress, self._blocks, self._windows = progress, blocks, windows
        self._finished = finished
        self._shares: dict[int, float] = {}
        self._lock = threading.Lock()

    def within(self, number: int, done: int, total: int) -> None:
        """A block has got somewhere."""
        with self._lock:
            self._shares[number] = done / total
            self._show()

    def done(self, number: int) -> None:
        """A block is finished."""
        with self._lock:
            self._shares.pop(number, None)
            self._finished += 1
            self._show()

    def _show(self) -> None:
        if self._progress is not None:
            blocks = self._finished + sum(self._shares.values())
            self._progress(int(blocks * self._windows), self._blocks * self._windows)
