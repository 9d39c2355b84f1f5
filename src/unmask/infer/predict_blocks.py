"""Prediction block by block: volumes of any size, on one machine or many, resumable.

Every block reads the windows of the whole image that it needs, at the positions that they have
there, so its scores are those of the whole image and do not depend on the block.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from pathlib import Path

import numpy as np
import torch

from unmask.atomic import replace_folder, saving
from unmask.blocks.base import Facts, Output, Plan
from unmask.blocks.engine import run
from unmask.blocks.grid import Forecast, Grid, choose_block, forecast_blocks
from unmask.blocks.ship import ModelFile, in_memory, ship_image
from unmask.blocks.write import RESUME
from unmask.data.grid import AS_IT_IS, Place
from unmask.data.normalize import Measured
from unmask.data.source import ImageSource, Known, cut_image, hold_whole
from unmask.errors import DataError, RecipeError, message
from unmask.infer.block_notes import describe_blocks
from unmask.infer.facts import label_provenance, prediction_facts, predictor_digest
from unmask.infer.fitting import fit_predictor
from unmask.infer.growing_scores import GrowingScores
from unmask.infer.load import load_predictor
from unmask.infer.notes import decode_part, decode_scores, is_voxelwise
from unmask.infer.origin import Origin
from unmask.infer.own_blocks import choose_own_block, own_grid, scores_back
from unmask.infer.predictor import Predictor
from unmask.infer.sinks import ResumedSink, ZarrSink, read_scores
from unmask.infer.tiles import Sink, count_rows
from unmask.io import Image, cache
from unmask.labels.dropped import Region
from unmask.memory import free_memory
from unmask.progress import Progress
from unmask.space.box import Box, Tile
from unmask.tasks.complete import complete

# Stored scores, while an output is in work.
_SCORES, _UNCERTAINTY = "scores.zarr", "uncertainty.zarr"
# On a CPU the network takes all cores: two blocks at once would only take more memory.
_NETWORK = threading.Lock()
# Blocks that free memory must have room for before two are in work.
_AMPLE = 8
# Decoded parts of an image that are kept for the next block.
_KEPT_BYTES = 8 << 20


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
    chosen = block or choose_block(space, halo=task.context, classes=task.channels())
    edges = tuple(min(a, b) for a, b in zip(chosen, space, strict=True))
    grid = Grid(space, edges, task.context)
    if len(grid) > 1:
        complete(task).check_blocks()
    return grid, forecast_blocks(
        grid,
        predictor.tiling.adapted(space),
        channels=predictor.channels,
        classes=task.channels(),
        itemsize=image.dtype.itemsize,
        # Mirrored positions need several runs over the image, which a store cannot add up.
        store=False if predictor.views.mirror_positions and store is None else store,
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
    blocks are kept in the folder ``.predict`` next to the result until that is complete.

    Args:
        predictor: models, task and tiling.
        image: opened image or array.
        out: label file; OME-Zarr gets coarser levels, other formats are written part by part.
        block: voxels of a block; None: those of the predictor, or as large as memory allows.
        cluster: None for threads of this process, else see ``unmask.blocks.scheduler``.
        scores: keep the joined scores in this Zarr array. They are written in one pass of this
            process, and decoded from there.
        resume: keep the finished blocks of a run that was ended.
        progress: called with (windows done, windows in all).
        say: receives notes on the labels, such as objects that were removed.

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
    work = plan_work(predictor, image, block=block, scores=scores, cluster=cluster)
    return run_work(
        work, work.output(Path(out)), cluster=cluster, resume=resume, progress=progress, say=say
    )


@dataclass(frozen=True)
class PredictWork:
    """The prediction of one image, for ``unmask.blocks.engine``.

    Attributes:
        predictor: models, task and tiling.
        image: the image as it is in its file.
        place: what the network sees of it.
        grid: the blocks of what the network sees.
        forecast: what the blocks will take.
        scores: where the joined scores are kept; None: nowhere.
        uncertainty: where the uncertainty of every voxel is kept; None: it is not computed.
    """

    predictor: Predictor
    image: Image
    place: Place
    grid: Grid
    forecast: Forecast
    scores: Path | None = None
    uncertainty: Path | None = None

    @cached_property
    def seen(self) -> Image:
        """The image as the network sees it."""
        return hold_whole(self.place.seen(self.image))

    @cached_property
    def measured(self) -> Measured:
        """What brings the image to the network's range."""
        given = {"channels": self.predictor.channels, "normalize": self.predictor.normalize}
        with cache.sparing(_KEPT_BYTES):
            return ImageSource(self.seen, **given).measured

    @cached_property
    def weights(self) -> str:
        """Digest of the models' weights."""
        return predictor_digest(self.predictor)

    @property
    def returns(self) -> bool:
        """Whether blocks are labeled on the image's own grid, out of interpolated scores."""
        return not self.place.still and is_voxelwise(self.predictor.task)

    @property
    def blocks(self) -> Grid:
        """The blocks that are labeled: those of ``grid``, or as many on the image's own grid."""
        return own_grid(self.grid, self.place) if self.returns else self.grid

    def output(self, path: Path, name: str = "labels", kept: Path | None = None) -> Output:
        """Where the labels go; see `Output`."""
        return Output(path, self.image, None if self.returns else self.place, name, kept)

    def plan(self) -> Plan:
        """What decides about the labels."""
        grid, cost = self.blocks, self.forecast
        cuts = {"block": list(grid.block), "halo": self.grid.halo}
        cuts["measured"] = repr(self.measured)
        if self.uncertainty is not None:
            cuts["uncertainty"] = repr((self.predictor.views.flips, self.predictor.compared))
        facts = prediction_facts(self.predictor, self.seen, self.weights) | cuts
        provenance = label_provenance(self.predictor, self.image, self.weights)
        if not cost.stored:
            return Plan(facts, provenance, steps=cost.windows)
        space = self.grid.space
        windows = prod(map(len, self.predictor.tiling.adapted(space).positions(space)))
        # Decoding often takes about as long as the network.
        steps = max(1, windows // len(grid))
        return Plan(facts, provenance, steps=steps, shared=windows)

    @contextmanager
    def labeler(
        self, folder: Path, *, missing: int, remote: bool, progress: Progress | None
    ) -> Generator[ScoreLabeler, None, None]:
        """What decodes blocks; if scores are stored, the network writes them meanwhile.

        Raises:
            RecipeError: other processes cannot get the models or the image.
        """
        own = (self.place, self.image.spacing) if self.returns else None
        labeler = ScoreLabeler(
            lambda: self.predictor, lambda: self.seen, self.grid.space, self.measured, own=own
        )
        if remote:
            labeler = self._ship(labeler)
        kept = self.scores is not None or self.uncertainty is not None
        if not (self.forecast.stored and (kept or missing)):
            yield labeler
            return
        with self._store_scores(folder / _SCORES, progress) as stored:
            if remote or _threads(self) == 1 or not _leaves_cores(self.predictor):
                stored.wait()
                yield replace(labeler, scores=partial(read_scores, stored.path))
            else:
                yield replace(labeler, scores=stored.read)

    def finish(self, folder: Path) -> None:
        """Move scores and uncertainty to their final path, resampled to the grid of the image."""
        for name, path in ((_SCORES, self.scores), (_UNCERTAINTY, self.uncertainty)):
            if path is not None:
                with saving(path, RESUME):
                    store = scores_back(folder / name, self.image, self.place)
                    replace_folder(store, path.absolute())

    def _ship(self, labeler: ScoreLabeler) -> ScoreLabeler:
        """The labeler with paths in place of what is in memory."""
        origin, layout = self.predictor.origin, self.predictor.layout
        if origin is None:
            raise in_memory()
        axes = None if layout is None else layout.axes
        model = ModelFile(_LoadPredictor(origin), self.weights, ", ".join(origin.models))
        return replace(labeler, predictor=model, image=ship_image(self.image, axes, self.place))

    @contextmanager
    def _store_scores(
        self, path: Path, progress: Progress | None
    ) -> Generator[GrowingScores, None, None]:
        """Scores that the network writes in a thread."""
        sink = ZarrSink(path, spacing=self.seen.spacing, resume=True)
        predictor, lines = replace(self.predictor, view=AS_IT_IS), sink.lines
        doubt: ResumedSink | None = None
        target: Sink = sink
        if self.uncertainty is not None:
            other = ZarrSink(path.with_name(_UNCERTAINTY), spacing=self.seen.spacing, resume=True)
            # If the process is killed, one of the two stores may have more lines than the other.
            lines = min(lines, other.lines)
            target, doubt = ResumedSink(sink, sink.lines), ResumedSink(other, other.lines)
        stored = GrowingScores(path, target, lines, self.seen)
        if progress is not None:
            # Scores of an ended run took no time in this one.
            progress(*count_rows(self.predictor.tiling, self.seen.shape[1:], lines))

        def write() -> None:
            with saving(path, RESUME):
                predictor.write_scores(
                    self.seen, stored, doubt=doubt, first=lines, progress=progress
                )

        with stored.written_by(write):
            yield stored


@dataclass(frozen=True)
class ScoreLabeler:
    """Labels of a block from its scores: a function of models, image and block.

    Attributes:
        predictor: gives the models.
        image: gives the image as the network sees it.
        space: voxels of the image.
        measured: what brings the image to the network's range.
        scores: reads stored scores ``(S, *box.shape)``; None: the network computes them.
        own: if blocks are those of the image's own grid, what the network sees of the image, and
            the voxel size of that grid; None: blocks are those of the network's grid.
    """

    predictor: Callable[[], Predictor]
    image: Callable[[], Image]
    space: tuple[int, ...]
    measured: Measured
    scores: Callable[[Box], np.ndarray] | None = None
    own: tuple[Place, tuple[float, ...] | None] | None = None

    def label(self, tile: Tile, *, progress: Progress | None = None) -> tuple[np.ndarray, Facts]:
        """Labels of a block with its halo, and the facts behind the notes.

        Raises:
            DataError: a part of the image that cannot be read or is not finite, or scores that
                cannot be decoded.
        """
        predictor = self.predictor()
        if self.own is not None:
            place, spacing = self.own
            image = replace(self.image(), spacing=spacing)
            read = partial(self._scores, predictor, progress=progress)
            return decode_part(predictor.task, read, image, place, tile.write)
        scores = self._scores(predictor, tile.read, progress=progress)
        sides = zip(tile.read.start, tile.read.stop, self.space, strict=True)
        ends = tuple((start > 0, stop < size) for start, stop, size in sides)
        region = Region(tile.write.relative_to(tile.read).slices, prod(self.space), ends)
        answer, facts = decode_scores(
            predictor.task, scores, self.image(), region=region, trained=predictor.trained
        )
        return np.asarray(answer.labels), facts

    def _scores(self, predictor: Predictor, part: Box, *, progress: Progress | None) -> np.ndarray:
        """Scores ``(S, *space)`` in a box of the network's grid."""
        with cache.sparing(_KEPT_BYTES):
            if self.scores is not None:
                return self.scores(part)
            predictor = replace(predictor, tiling=predictor.tiling.adapted(self.space))
            box = predictor.tiling.cover(part, self.space)
            image, known = cut_image(self.image(), box), Known(self.measured)
            with _NETWORK if predictor.device.type == "cpu" else nullcontext():
                scores = predictor.score_seen(image, normalize=known, progress=progress)
        return np.ascontiguousarray(scores[:, *part.relative_to(box).slices])


@dataclass(frozen=True)
class _LoadPredictor:
    """Loads a predictor in another process."""

    origin: Origin

    def __call__(self) -> tuple[Predictor, str]:
        models, settings = list(self.origin.models), self.origin.settings
        predictor = load_predictor(
            models, settings, allow_code=self.origin.allow_code, device=self.origin.device
        )
        return predictor, predictor_digest(predictor)


def plan_work(
    predictor: Predictor,
    image: Image,
    *,
    block: Sequence[int] | None = None,
    scores: str | Path | None = None,
    uncertainty: str | Path | None = None,
    cluster: str | None = None,
) -> PredictWork:
    """The prediction of an image in blocks, and what it will take; see ``predict_blocks``.

    Raises:
        DataError: the image does not fit the model.
        RecipeError: blocks of another number of axes; labels that need the whole image.
    """
    # Other processes have no part in stored scores, which this process would compute alone.
    wanted = scores is not None or uncertainty is not None
    store = True if wanted else None if cluster is None else False
    predictor = fit_predictor(predictor, image)
    place = predictor.view.place(image)
    returns = not place.still and is_voxelwise(predictor.task)
    if returns and block is None and predictor.block is None:
        block = choose_own_block(place, predictor.task.channels())
    grid, cost = plan_blocks(predictor, place.seen(image), block, store=store)
    if returns:
        own = 4 * predictor.task.channels() * prod(own_grid(grid, place).block)
        cost = replace(cost, memory=cost.memory + own)
    return PredictWork(
        predictor,
        image,
        place,
        grid,
        cost,
        None if scores is None else Path(scores),
        None if uncertainty is None else Path(uncertainty),
    )


def run_work(
    work: PredictWork,
    out: Output,
    *,
    cluster: str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Label the blocks of an image into a file; see ``predict_blocks``."""
    outcome = run(
        work,
        work.blocks,
        out,
        cluster=cluster,
        threads=_threads(work),
        resume=resume,
        progress=progress,
    )
    if say is not None:
        for note in describe_blocks(work.predictor, work.grid, work.place, outcome):
            say(note)
    return outcome.largest


def _threads(work: PredictWork) -> int:
    """Blocks at once.

    On a CPU one block is decoded while the network works on the next, if there is ample memory for
    both. Next to a GPU decoding is slower than the network.
    """
    cores = os.cpu_count() or 1
    if work.predictor.device.type != "cpu":
        return min(4, cores)
    return 2 if cores > 1 and _AMPLE * work.forecast.memory <= free_memory() else 1


def _leaves_cores(predictor: Predictor) -> bool:
    """Whether decoding has cores of its own while the network works.

    A network on all cores waits for each core that decodes: 224^3 voxels took 110 s on two cores,
    and 92 s if the scores were completed first.
    """
    return predictor.device.type != "cpu" or torch.get_num_threads() < (os.cpu_count() or 1)
