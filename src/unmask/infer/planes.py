"""Prediction of stacks and movies, position by position: one pass of the models for each.

The labels of every position are kept in a file until all are there, so memory does not depend on
the length of a movie, and an ended run is resumed at the first position that is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unmask.blocks.base import Doubts, Facts, Output, Plan
from unmask.blocks.engine import run
from unmask.blocks.grid import Grid
from unmask.blocks.resume import block_file
from unmask.blocks.scheduler import Run
from unmask.blocks.stitch import read_labels, write_numbers
from unmask.blocks.store import read_arrays
from unmask.data.source import hold_whole
from unmask.errors import RecipeError
from unmask.infer.facts import prediction_facts, predictor_digest
from unmask.infer.fitting import fit_to_stack
from unmask.infer.large import is_large
from unmask.infer.notes import decode_image, describe
from unmask.infer.plane_numbers import Numbers, Positions, number_objects
from unmask.infer.plane_uncertainty import (
    counts_of,
    join_objects,
    label_with_doubt,
    measure_objects,
    note_numbers,
)
from unmask.infer.predict_blocks import plan_work, run_work
from unmask.infer.predictor import Prediction, Predictor
from unmask.interruption import drop_notes
from unmask.io import Image, cache, open_labels, save_image, smallest_uint
from unmask.io.stacks import lead_axes, letters_apart, plane_of
from unmask.labels.relabeling import relabel
from unmask.measurement.trackmate import write_trackmate_xml
from unmask.measurement.tracks import TrackTable, write_ctc, write_trackmate
from unmask.progress import BlockProgress, Progress
from unmask.space.box import Tile

# Decoded parts of a stack that are kept for the next position.
_KEPT_BYTES = 8 << 20


@dataclass(frozen=True)
class PlanesWork:
    """The prediction of a stack, for ``unmask.blocks.engine``.

    Attributes:
        predictor: models, task and tiling.
        image: the stack, see ``unmask.io.stacks``.
        join: join objects over slices, and track them over time.
        tracks: folder for the tracks of a movie; None: they are not written.
        uncertain: measure the uncertainty of objects.
    """

    predictor: Predictor
    image: Image
    join: bool = False
    tracks: Path | None = None
    uncertain: bool = False

    @property
    def positions(self) -> Positions:
        """The positions that are predicted one by one."""
        axes = lead_axes(self.image, self.predictor.ndim)
        return Positions(axes, self.image.shape[1 : 1 + len(axes)], self.image.spacing)

    @property
    def grid(self) -> Grid:
        """One block for each position."""
        space, count = self.image.shape[1:], len(self.positions.counts)
        return Grid(space, (*(1,) * count, *space[count:]), 0)

    @cached_property
    def objects(self) -> bool:
        """Whether labels number objects, starting at 1 at every position."""
        return self.predictor.task.context > 0

    def check(self) -> None:
        """Refuse ``join`` for classes.

        Raises:
            RecipeError: ``join`` is set, and labels are classes.
        """
        if self.join and not self.objects:
            raise RecipeError(
                "--join: expected a model that numbers objects, found one of "
                f"{type(self.predictor.task).__name__}, whose labels are classes. Leave it out."
            )

    def plan(self) -> Plan:
        """Facts that determine the labels; a resumed run must have the same."""
        chosen: dict[str, Any] = {"planes": self.positions.axes, "join": self.join}
        if self.uncertain:
            chosen["uncertain"] = True
        weights = predictor_digest(self.predictor)
        facts = prediction_facts(self.predictor, self.image, weights) | chosen
        provenance = self.predictor.provenance(self.image) | chosen | {"weights": weights}
        provenance["unmask"] = facts["unmask"]
        plane = plane_of(self.image, (0,) * len(self.positions.counts))
        space = self.predictor.view.place(plane).shape
        windows = self.predictor.tiling.adapted(space).positions(space)
        steps = prod(map(len, windows)) * len(self.predictor.views.runs)
        unit = "time point" if self.positions.axes == "T" else "plane"
        return Plan(facts, provenance, steps=steps, unit=unit)

    @contextmanager
    def labeler(
        self, folder: Path, *, missing: int, remote: bool, progress: Progress | None
    ) -> Generator[PlaneLabeler, None, None]:
        """What labels positions; it decodes files without random access once.

        Raises:
            RecipeError: positions would be labeled in other processes.
        """
        del missing, progress
        if remote:
            raise RecipeError(
                "--workers: expected images or volumes, found a stack that is predicted plane by "
                "plane in one process. Leave out --workers."
            )
        yield PlaneLabeler(
            self.predictor, hold_whole(self.image), self.positions, folder,
            objects=self.objects, uncertain=self.uncertain and self.objects,
        )  # fmt: skip

    def stitch(
        self, grid: Grid, folder: Path, facts: Sequence[Facts], run_units: Run
    ) -> tuple[int, Doubts]:
        """Final numbers of the objects of all positions; classes stay as they are."""
        del run_units
        nothing = Doubts((), np.zeros((0, 2, len(grid.space)), np.int64))
        tops = [int(each["top"]) for each in facts]
        if not self.objects:
            return max(tops), nothing
        numbers = number_objects(
            self.positions, tops, partial(_read_position, folder, self.positions), join=self.join
        )
        write_numbers(folder, numbers.values, numbers.offsets)
        if self.uncertain:
            note_numbers(facts, numbers)
        if numbers.tracks is not None and self.tracks is not None:
            write_tracks(numbers.tracks, self.tracks, self.image)
        return int(numbers.values.max(initial=0)), nothing

    def finish(self, folder: Path) -> None:
        """Write the masks of the tracks, one file for each point in time."""
        if self.tracks is None or not self.join or "T" not in self.positions.axes:
            return
        plane = plane_of(self.image, (0,) * len(self.positions.counts))
        for time, numbers in enumerate(self.positions.times):
            parts = [_squeeze(read_labels(folder, each), self.predictor.ndim) for each in numbers]
            mask = parts[0] if len(parts) == 1 else np.stack(parts)
            # The Cell Tracking Challenge fixes the type of its masks.
            dtype = np.uint16 if mask.max(initial=0) < 1 << 16 else np.uint32
            path = ctc_folder(self.tracks, self.image) / f"mask{time:03d}.tif"
            spacing = plane.spacing if mask.ndim == self.predictor.ndim else self.image.spacing
            save_image(
                path, mask.astype(dtype), axes="ZYX"[-mask.ndim :], spacing=spacing,
                unit=self.image.unit,
            )  # fmt: skip


@dataclass(frozen=True)
class PlaneLabeler:
    """Labels of one position of a stack.

    Attributes:
        predictor: models, task and tiling.
        image: the stack.
        positions: of the stack.
        folder: of unfinished work.
        objects: labels are numbers of objects.
        uncertain: measure the uncertainty of objects, except where scores exceed the memory.
    """

    predictor: Predictor
    image: Image
    positions: Positions
    folder: Path
    objects: bool
    uncertain: bool = False

    def label(self, tile: Tile, *, progress: Progress | None = None) -> tuple[np.ndarray, Facts]:
        """Labels of a position, with ids starting at 1 without gaps, and facts for notes.

        Raises:
            DataError: a part of the image cannot be read or decoded; names the position.
        """
        count = len(self.positions.counts)
        plane = plane_of(self.image, tile.write.start[:count])
        doubt: np.ndarray | None = None
        with cache.sparing(_KEPT_BYTES):
            if is_large(self.predictor, plane):
                labels, facts = self._label_large(plane, progress), {}
            elif self.uncertain:
                labels, facts, doubt = label_with_doubt(self.predictor, plane, progress)
            else:
                labels, facts = label_plane(self.predictor, plane, progress)
        if self.objects:
            labels = relabel(labels)
        if doubt is not None:
            facts = {**facts, **measure_objects(labels, doubt)}
        return labels.reshape(tile.write.shape), facts

    def _label_large(self, plane: Image, progress: Progress | None) -> np.ndarray:
        """Labels of a plane or volume whose scores do not fit into memory."""
        path = self.folder / "large.ome.zarr"
        work = plan_work(self.predictor, plane)
        with drop_notes():
            run_work(work, work.output(path), progress=progress)
        return open_labels(path, ndim=self.predictor.ndim).read()[0]


def label_plane(
    predictor: Predictor, plane: Image, progress: Progress | None = None
) -> tuple[np.ndarray, Facts]:
    """Labels of one plane on its own grid, and the facts behind the notes."""
    place = predictor.view.place(plane)
    seen = place.seen(plane)
    scores = predictor.score_seen(seen, progress=progress)
    answer, facts = decode_image(predictor.task, scores, plane, place, trained=predictor.trained)
    return np.asarray(answer.labels), facts


def predict_planes(
    work: PlanesWork,
    out: Path | Output,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Label a stack into one file with the axes of the stack.

    Args:
        work: the stack and its models.
        out: label file, or where the labels go.
        resume: keep the finished positions of a run that was ended.
        progress: called with (windows done, windows in all).
        say: called with notes on the labels.

    Returns:
        The number of ``objects`` or ``tracks``, or the largest label of ``classes``, the number of
        ``positions``, and the ``uncertainty`` of objects if it was asked for, as JSON values.

    Raises:
        DataError: the image does not fit the model or is damaged.
        RecipeError: ``join`` is set, and labels are classes.
        SaveError: the disk is full; finished positions are kept.
    """
    work.check()
    outcome = run(
        work,
        work.grid,
        out if isinstance(out, Output) else Output(out, work.image),
        resume=resume,
        progress=progress,
        stitch=work.stitch,
    )
    if say is not None:
        for note in _notes(work, outcome.facts):
            say(note)
    what = "objects" if work.objects else "classes"
    if work.join and "T" in work.positions.axes:
        what = "tracks"
    found: dict[str, Any] = {what: outcome.largest, "positions": len(work.positions)}
    if work.uncertain and work.objects:
        found["uncertainty"] = join_objects(outcome.facts).to_json()
    return found


def predict_stack(
    predictor: Predictor, image: Image, *, join: bool = False, progress: Progress | None = None
) -> Prediction:
    """Label a stack in memory; scores are not kept.

    Args:
        predictor: models, task and tiling.
        image: the stack, see ``unmask.io.stacks``.
        join: join objects over slices, and track them over time.
        progress: called with (windows done, windows in all).

    Raises:
        DataError: the image does not fit the model or is damaged.
        RecipeError: ``join`` is set, and labels are classes.
    """
    image = hold_whole(image)
    predictor = fit_to_stack(predictor, image)
    work = PlanesWork(predictor, image, join)
    work.check()
    positions, grid = work.positions, work.grid
    shown = BlockProgress(progress, blocks=len(grid), steps=work.plan().steps, finished=0)
    parts: list[np.ndarray] = []
    facts: list[Facts] = []
    with work.labeler(Path(), missing=len(grid), remote=False, progress=None) as labeler:
        for number in range(len(grid)):
            inner = None if progress is None else partial(shown.advance, number)
            labels, noted = labeler.label(grid.tile(number), progress=inner)
            parts.append(_squeeze(labels, predictor.ndim))
            facts.append(noted)
            shown.finish(number)
    numbers: Numbers | None = None
    if work.objects:
        tops = [int(part.max(initial=0)) for part in parts]
        numbers = number_objects(positions, tops, parts.__getitem__, join=join)
        parts = [numbers.apply(part, number) for number, part in enumerate(parts)]
    return Prediction(
        smallest_uint(np.stack(parts).reshape(grid.space)),
        None,
        image.spacing,
        predictor.provenance(image)
        | {"join": join, "apart": letters_apart(positions.axes, join=join)},
        notes=tuple(_notes(work, facts)),
        image=image,
        axes=image.axes[1:],
        tracks=None if numbers is None else numbers.tracks,
    )


def ctc_folder(folder: Path, image: Image) -> Path:
    """Folder of masks and tracks of a movie in the layout of the Cell Tracking Challenge."""
    return folder / f"{image.name}_RES"


def write_tracks(table: TrackTable, folder: Path, image: Image) -> None:
    """Write the tracks of a movie: for TrackMate as XML and CSV, and the text of the CTC.

    Raises:
        SaveError: a file cannot be written.
    """
    write_trackmate(table, folder / f"{image.name}.csv")
    write_trackmate_xml(table, folder / f"{image.name}.xml", image)
    write_ctc(table, ctc_folder(folder, image) / "res_track.txt")


def _read_position(folder: Path, positions: Positions, number: int) -> np.ndarray:
    """Labels of a position as the network gave them."""
    labels = read_arrays(block_file(folder, number), ["labels"])[0]
    return labels.reshape(labels.shape[len(positions.counts) :])


def _squeeze(labels: np.ndarray, ndim: int) -> np.ndarray:
    return labels.reshape(labels.shape[-ndim:])


def _notes(work: PlanesWork, facts: Sequence[Facts]) -> list[str]:
    """Notes on the labels of all positions together."""
    total = Counter[str]()
    for each in facts:
        total.update(counts_of(each))
    plane = plane_of(work.image, (0,) * len(work.positions.counts))
    predictor = work.predictor
    place = predictor.view.place(plane)
    return list(describe(predictor.task, total, place, predictor.trained))
