"""A training from opened pairs to a run folder with its best model."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from unmask import checkpoint
from unmask.api.briefing import brief, settle_precision
from unmask.api.run_report import Finished, write_run_report
from unmask.api.validation import HeldOut
from unmask.api.values import ModelLike
from unmask.build import (
    Assembly,
    build_crops,
    build_replay,
    new_segmenter,
)
from unmask.checkpoint.card import channel_fields
from unmask.checkpoint.model import MODEL_FILE
from unmask.checkpoint.snapshots import saved_step
from unmask.data.channel_choice import common_names
from unmask.data.crops import Crops
from unmask.data.diameters import measure_diameters
from unmask.data.loader import batches
from unmask.data.pairs import (
    Pair,
    check_unchanged,
    fingerprint,
)
from unmask.data.replay import Replay, WithUnlabeled
from unmask.errors import UnmaskError, group_problems
from unmask.interruption import note_kept
from unmask.models.base import Objective
from unmask.models.shared_norm import share_statistics
from unmask.recipe import Recipe
from unmask.space.batch import Batch
from unmask.starts.choose import Chosen, choose_start, note_start
from unmask.starts.trial import try_start
from unmask.training import (
    Journal,
    RunFolder,
    build_plan,
    count_processes,
    fit,
    launch,
    make_fabric,
    modalities,
)
from unmask.training.allocator import keep_freed_memory
from unmask.training.compiling import compile_parts
from unmask.training.precision import Measured
from unmask.training.provenance import code_marks, is_new_run, note_run, versions
from unmask.training.saving import refuse_used
from unmask.training.threads import note_threads, use_threads
from unmask.training.trackers import build_trackers
from unmask.training.validation import Validate

Source = Crops | Replay | WithUnlabeled

# Batches between two looks at the files' sizes and times.
_LOOK_EVERY = 100


@dataclass(frozen=True)
class Start:
    """Run folder and initial weights of a training; ``init`` as for `choose_start`."""

    out: str | Path
    init: ModelLike | None = None
    devices: int = 1
    resume: bool = False


@dataclass(frozen=True)
class Stage:
    """One of several trainings of a command: a fold, or the final one.

    Attributes:
        title: shown with its progress, such as "fold 2 of 5".
        before: updates of the trainings before it.
        total: updates of all of them; None: it is the only one.
        recipe: recipe that is written into the run folder; None: that of the training.
        card: more entries of the model's card.
        keep_models: keep the model of every validation.
        begin: called once the files are known to be right, before the first update.
        reasons: of the plan, for the report; they have been printed already.
        folds: number of folds in the first of them, which prints the forecast of all; else 0.
        measured: measured times of updates; None: not measured yet.
        pairs: images of all folds on their own grid; empty: no cross-validation.
    """

    title: str = ""
    before: int = 0
    total: int | None = None
    recipe: Recipe | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    keep_models: bool = False
    begin: Callable[[], None] | None = None
    reasons: Sequence[str] = ()
    folds: int = 0
    measured: Measured | None = None
    pairs: Sequence[Pair] = ()

    def open(self) -> None:
        """Note that the files are right, if somebody waits for it."""
        if self.begin is not None:
            self.begin()

    @property
    def speaks(self) -> bool:
        """Whether this training prints the forecast of all trainings."""
        return self.total is None or self.folds > 0


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: everything the run wrote.
        model: its best model file.
        metrics: validation of the best model; empty where nothing was held out.
        steps: updates done.
        seconds: wall time of this call.
    """

    folder: Path
    model: Path
    metrics: Mapping[str, float]
    steps: int
    seconds: float

    def __repr__(self) -> str:
        shown = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"Run({str(self.folder)!r}: {self.steps} updates{shown}, {self.seconds:.0f} s)"


def run_training(  # noqa: PLR0913 - everything that a training is made of
    assembly: Assembly[Any],
    pairs: Sequence[Pair],
    *,
    start: Start,
    second: Sequence[Pair] | None = None,
    unlabeled: Sequence[Pair] | None = None,
    validate: Validate | None = None,
    notes: Sequence[str] = (),
    reasons: Sequence[str] = (),
    stage: Stage | None = None,
) -> Run:
    """Train the objective on ``pairs``, on a share of ``second`` and ``unlabeled``, into a run."""
    stage, folder, begin = stage or Stage(), Path(start.out), time.perf_counter()
    measured = _settle(assembly.recipe, pairs, start, stage)
    recipe, objective = measured.recipe, assembly.objective
    chosen = choose_start(start.init, objective, recipe, folder=folder, resume=start.resume)
    _check_sampling(assembly, chosen, start)
    fabric = _place(objective, recipe, start.devices)
    used = [*pairs, *(second or ()), *(unlabeled or ())]
    marks, code = fingerprint(used), checkpoint.code_fields(recipe)
    with (
        use_threads(measured.used_threads),
        launch(fabric),
        _hold(folder, recipe.train.steps, fabric),
    ):
        noted, kept = {**marks, **code_marks(code)}, stage.recipe or recipe
        new = is_new_run(folder, kept, noted, resume=start.resume)
        # Files are read here; nothing is written before their pixels are known to be right.
        crops = _source(assembly, pairs, second or (), unlabeled or (), fabric=fabric, start=start)
        stream = partial(_stream, crops, fabric, recipe.train.workers, marks, used)
        if new:
            chosen = _tried(chosen, assembly, stream, fabric)
            _note_beginning(folder, chosen, measured)
            note_run(folder, kept, noted)
        stage.open()
        card = {"data": marks, **code, **_held_out(validate), **stage.card, **chosen.to_card()}
        card |= _describe(objective, pairs, recipe, used)
        with _journal(folder, recipe, stage) as journal:
            facts = {"validate": validate, "card": card, "folds": stage.folds}
            own = stage.pairs or pairs
            briefing = brief(measured, objective, own, device=fabric.device, **facts)
            doubts, begun = list(_note(crops, notes)), briefing.lines() if stage.speaks else ()
            journal.say_lines([*reasons, *doubts, *chosen.lines, *_at_rest(objective), *begun])
            summary = fit(
                objective,
                stream,
                fabric=fabric,
                optimizer=assembly.optimizer,
                plan=replace(build_plan(recipe), validate_first=chosen.whole),
                journal=journal,
                validate=validate,
                run=RunFolder(folder, card, resume=start.resume, keep_models=stage.keep_models),
            )
            if fabric.is_global_zero and not stage.keep_models:
                outcome = (briefing, doubts, reasons or stage.reasons, time.perf_counter() - begin)
                shown = (own, validate)
                _report(Finished(folder, recipe, objective.finished, *shown, *outcome), journal)
    metrics = _of_saved(folder / MODEL_FILE, summary.metrics) or stage.card.get("metrics", {})
    return Run(folder, folder / MODEL_FILE, metrics, summary.step, time.perf_counter() - begin)


@contextmanager
def _hold(folder: Path, steps: int, fabric: Fabric) -> Generator[None, None, None]:
    """Lock the run folder; an end that was asked for says what is kept there."""
    with (
        checkpoint.lock_run(folder) if fabric.is_global_zero else nullcontext(),
        note_kept(partial(_describe_saved, folder, steps)),
    ):
        yield


def _describe_saved(folder: Path, steps: int) -> str:
    """What a run that resumes starts with, for people; "" if it starts again."""
    saved = saved_step(folder)
    return f"{folder}: step {saved} of {steps} is saved." if saved else ""


def _held_out(validate: Validate | None) -> dict[str, Any]:
    """For the card: the number of images that the scores are of."""
    chosen = validate.chosen if isinstance(validate, HeldOut) else ()
    return {"held_out": {"images": len(chosen)}} if chosen else {}


def _of_saved(model: Path, last: Mapping[str, float]) -> Mapping[str, float]:
    """The scores of the saved model, which need not be those of the last validation."""
    if not last or not model.is_file():
        return last
    return checkpoint.describe_model(model).card.get("metrics", last)


def _note_beginning(folder: Path, chosen: Chosen, measured: Measured) -> None:
    """Write what a resumed run has to know in addition to its recipe."""
    note_start(folder, chosen)
    note_threads(folder, measured)


def _check_sampling(assembly: Assembly[Any], chosen: Chosen, start: Start) -> None:
    """Refuse a balance of kinds of images that has nothing to start from."""
    if assembly.sampling is not None:
        known = chosen.model is not None
        modalities.check_start(assembly.sampling, Path(start.out), init=known, resume=start.resume)


def _settle(recipe: Recipe, pairs: Sequence[Pair], start: Start, stage: Stage) -> Measured:
    """The precision of the run; that of one of several trainings is settled before the first."""
    # A tracker that is missing or misspelled is refused before anything is read or measured.
    build_trackers(recipe.train.trackers)
    if stage.total is not None:
        given = stage.measured or Measured(recipe, {})
        return replace(given, recipe=recipe)
    folder = Path(start.out)
    if not start.resume:
        refuse_used(folder)
    return settle_precision(recipe, pairs, folder, devices=start.devices, resume=start.resume)


def _report(finished: Finished, journal: Journal) -> None:
    """Write the report and say the verdict; a failure is reported and does no harm to the run."""
    journal.finish()
    try:
        lines = write_run_report(finished)
    except (UnmaskError, OSError, RuntimeError, ValueError) as error:
        lines = [f"{finished.folder / 'report.html'}: not written ({error}). The run is complete."]
    for line in lines:
        journal.say(line)


def _journal(folder: Path, recipe: Recipe, stage: Stage) -> Journal:
    journal = Journal(
        folder,
        steps=recipe.train.steps,
        title=stage.title,
        before=stage.before,
        total=stage.total,
    )
    journal.track(build_trackers(recipe.train.trackers), recipe.model_dump(mode="json"))
    return journal


def _tried(
    chosen: Chosen,
    assembly: Assembly[Any],
    stream: Callable[[int], Iterator[Batch]],
    fabric: Fabric,
) -> Chosen:
    """The start weights, if a few updates on the crops of the run are better with them."""
    recipe = assembly.recipe
    return try_start(
        chosen,
        assembly.objective.finished,
        partial(new_segmenter, recipe),
        stream,
        recipe=recipe,
        fabric=fabric,
    )


def _place(objective: Objective, recipe: Recipe, devices: int) -> Fabric:
    """The devices of a training, in the precision of its recipe."""
    count, machines = count_processes(devices)
    crop = (recipe.data.channels, *recipe.data.crop)
    if recipe.train.sync_batchnorm and count * machines > 1:
        share_statistics(objective)
    unused = count * machines > 1 and objective.leaves_weights_out(crop)
    fabric = make_fabric(count, recipe.train.precision, num_nodes=machines, unused=unused)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    if recipe.train.compile:
        compile_parts(objective)
    return fabric


def _note(crops: Source, notes: Sequence[str]) -> Iterator[str]:
    """Lines of the notes, and of images without objects."""
    first = crops
    while not isinstance(first, Crops):
        first = first.first
    empty = [f"{source}: no object, all labels are 0." for source in first.empty]
    yield from (f"note: {note}" for note in group_problems([*notes, *empty]))


def _describe(
    objective: Objective, pairs: Sequence[Pair], recipe: Recipe, used: Sequence[Pair]
) -> dict[str, Any]:
    """For the card: recipe, versions, sizes of the objects, and names of the channels."""
    own = {"recipe": recipe.model_dump(mode="json"), "versions": versions()}
    sizes = _object_sizes(objective, pairs, recipe)
    return own | sizes | channel_fields(common_names([pair.image for pair in used]))


def _object_sizes(
    objective: Objective, pairs: Sequence[Pair], recipe: Recipe
) -> dict[str, dict[str, Any]]:
    """For the card: diameters of the objects that are learned from, if labels are objects."""
    task = getattr(objective, "task", None)
    if task is None or task.context == 0:
        return {}
    sizes = measure_diameters(pairs, ignore_label=recipe.data.ignore_label)
    return {} if sizes is None else {"object_diameters": sizes.to_card()}


def _at_rest(objective: Objective) -> Iterator[str]:
    """What is frozen, where something is."""
    if objective.frozen:
        sizes = [(p.numel(), p.requires_grad) for p in objective.parameters()]
        learning = sum(size for size, learns in sizes if learns)
        total = sum(size for size, _ in sizes)
        yield f"Frozen: {', '.join(objective.frozen)}; {learning:,} of {total:,} weights learn."


def _source(
    assembly: Assembly[Any],
    pairs: Sequence[Pair],
    second: Sequence[Pair],
    unlabeled: Sequence[Pair],
    *,
    fabric: Fabric,
    start: Start,
) -> Source:
    """Batches of ``pairs``, in the order of the recipe, joined with those of the others if any."""
    recipe, task, pipeline = assembly.recipe, assembly.task, assembly.pipeline
    whole = len(pairs) + len(second) + len(unlabeled)
    share = len(pairs) / whole
    crops = build_crops(recipe, pairs, task, pipeline=pipeline, share=share)
    if assembly.sampling is not None:
        order = modalities.discover(
            crops,
            assembly.objective.backbone,
            assembly.sampling,
            folder=Path(start.out),
            fabric=fabric,
            resume=start.resume,
        )
        crops = crops.in_order_of(order)
    found: Crops | Replay = crops
    if second:
        share = len(second) / whole
        found = Replay(found, build_replay(recipe, second, task, pipeline=pipeline, share=share))
    if not unlabeled:
        return found
    share = len(unlabeled) / whole
    # Other trainings need no teachers.
    from unmask.build.semisupervised import build_unlabeled_crops

    return WithUnlabeled(
        found, build_unlabeled_crops(recipe, unlabeled, pipeline=pipeline, share=share)
    )


def _stream(
    crops: Source,
    fabric: Fabric,
    workers: int,
    marks: Mapping[str, str],
    used: Sequence[Pair],
    start: int,
) -> Iterator[Batch]:
    """Batches of this process; every process of a group draws others.

    Now and then files that have changed since the start, when they had these marks, are refused.
    """

    def make(index: int) -> Batch:
        if index % _LOOK_EVERY == 0:
            check_unchanged(marks, used)
        batch = crops.batch(index * fabric.world_size + fabric.global_rank)
        # Pinned in the thread that made it: the copy to the GPU then overlaps with its work.
        return batch.pin() if fabric.device.type == "cuda" else batch

    return batches(make, start, workers=workers)
