"""``pretrain`` and ``train``: from files to a run folder with its best model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from unmask import checkpoint
from unmask.api.inputs import (
    content_notes,
    find_inputs,
    labels_of,
    left_out_note,
    listed_next_to,
    neighbor_hint,
    parts_of,
    same_notes,
    unlabeled_note,
)
from unmask.api.planning import plan
from unmask.api.validation import validated
from unmask.api.values import ModelLike, RecipeLike, Settings
from unmask.build import (
    Assembly,
    assemble_method,
    assemble_segmenter,
    build_crops,
    build_replay,
    layout,
    resolve_recipe,
)
from unmask.data.crops import Crops
from unmask.data.diameters import measure_diameters
from unmask.data.fingerprint import same_images
from unmask.data.loader import batches
from unmask.data.outputs import refuse_inside
from unmask.data.pairing import image_files
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    apply_view,
    audit_pairs,
    check_unchanged,
    fingerprint,
    open_pairs,
)
from unmask.data.replay import Replay
from unmask.data.sections import oriented
from unmask.errors import DataError, RecipeError, grouped, message
from unmask.io.inputs import as_inputs
from unmask.models.base import Objective
from unmask.planning.plan import Plan
from unmask.planning.text import describe_plan
from unmask.recipe import Recipe
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.tasks.segmenter import Segmenter
from unmask.training import (
    Journal,
    RunFolder,
    build_plan,
    fit,
    launched,
    make_fabric,
    modalities,
    started,
)
from unmask.training.allocator import keep_freed_memory
from unmask.training.provenance import code_marks, initialize, is_new_run, note_run, versions

# Batches between two looks at the files' sizes and times.
_LOOK_EVERY = 100


@dataclass(frozen=True)
class Start:
    """Where a run goes and what it begins with."""

    out: str | Path
    init: ModelLike | None = None
    devices: int = 1
    resume: bool = False


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


def pretrain(
    recipe: RecipeLike,
    *,
    images: Paths,
    out: str | Path,
    init: ModelLike | None = None,
    settings: Settings = (),
    devices: int = 1,
    resume: bool = False,
) -> Run:
    """Learn from unlabeled images.

    Args:
        recipe: preset name, YAML file or recipe with a ``method``.
        images: file, folder, glob or OME-Zarr, or several of them.
        out: folder of the run.
        init: model file or run folder whose backbone weights are taken over first.
        settings: ``key=value`` changes to the recipe.
        devices: number of GPUs or processes; what torchrun or srun started needs no number.
        resume: go on from the newest snapshot in ``out``.

    Raises:
        RecipeError: the recipe is wrong.
        DataError: files are wrong; all problems at once.
    """
    chosen = resolve_recipe(recipe, settings)
    if chosen.data.replay is not None:
        raise RecipeError(
            f"recipe {chosen.name!r}: expected no data.replay in pre-training, found one. A second "
            "source belongs to training with labels; leave it out (--set data.replay=null) and "
            "give all images as --images."
        )
    assembly = assemble_method(chosen)
    refuse_inside(out, images)
    notes: list[str] = []
    rules = layout(chosen)
    pairs = apply_view(_unlabeled(images, chosen, rules, notes), rules.view)
    if chosen.data.sections is not None:
        pairs = oriented(pairs, chosen.data.sections)
    return _run(assembly, pairs, start=Start(out, init, devices, resume), notes=notes)


def _unlabeled(images: Paths, chosen: Recipe, rules: Layout, notes: list[str]) -> list[Pair]:
    """Images to pre-train on; the error says so where volumes can be learned from by sections."""
    channels = chosen.data.channels
    try:
        return open_pairs(images, None, rules, channels=channels, notes=notes)
    except DataError as error:
        if chosen.data.sections is not None or chosen.data.spacing is not None:
            raise
        deeper = replace(rules, ndim=rules.ndim + 1)
        if audit_pairs(images, None, deeper, channels=channels).problems:
            raise
        raise DataError(
            f"{error}\nAll of them have one axis more than the crops. To learn from their sections "
            "give --set data.sections=[0], which cuts them across the slowest axis."
        ) from error


def train(  # noqa: PLR0913 - the verb's promised arguments
    recipe: RecipeLike | Plan | None = None,
    *,
    images: Paths,
    labels: Paths | None = None,
    out: str | Path,
    init: ModelLike | None = None,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
    replay_images: Paths | None = None,
    replay_labels: Paths | None = None,
    minutes: float | None = None,
    settings: Settings = (),
    devices: int = 1,
    resume: bool = False,
) -> Run:
    """Learn to segment from labeled images.

    Without ``val_images`` a share of the pairs is held out (``data.holdout``) to choose the best
    model. Arguments and errors are those of ``pretrain``, and:

    Args:
        recipe: preset name, YAML file or recipe with a ``task``, or a plan; None: a plan is made
            from the data (`unmask.plan`), and a run that resumes keeps its own recipe.
        images: images; they pair with labels by stem. A ``dataset.json`` has both, and with
            ``data.fold`` or a split of its own what is held out. Images without labels are left
            out.
        labels: label images or outlines; default: those in a folder next to or among the images.
        out: folder of the run.
        init: model file or run folder; a pre-trained backbone or a whole segmenter.
        val_images: images of the validation.
        val_labels: labels of the validation.
        replay_images: images of a second source, such as those that the model ``init`` was trained
            on; every batch has ``data.replay.batch`` crops of it, 1 where the recipe says nothing.
        replay_labels: labels of the second source.
        minutes: time for the training, if a plan is made.
        settings: ``key=value`` changes to the recipe.
        devices: number of GPUs or processes.
        resume: go on from the newest snapshot in ``out``.
    """
    source, reasons = _recipe_of(recipe, images, labels, out, minutes, settings, resume=resume)
    chosen = _with_replay(resolve_recipe(source, settings), given=replay_images is not None)
    assembly = assemble_segmenter(chosen)
    task = assembly.task
    refuse_inside(out, images, labels, val_images, val_labels, replay_images, replay_labels)
    found = find_inputs(images, labels, val_images, val_labels)
    images, val_images = parts_of(found.images, found.val_images, chosen.data.fold)
    labels = labels_of(images, found.labels)
    if labels is None:
        raise DataError(_no_labels(images))
    rules, notes, unlabeled = layout(chosen, task), list(found.notes), list[str]()
    open_files = partial(open_pairs, layout=rules, channels=chosen.data.channels, notes=notes)
    with listed_next_to(out):
        pairs = open_files(images, labels, unlabeled=unlabeled)
        notes += unlabeled_note(len(pairs), unlabeled, images, chosen)
        val_labels = labels_of(val_images, found.val_labels)
        held_out = _second("Validation", val_images, val_labels, open_files, notes)
        second = _second("Replay", replay_images, replay_labels, open_files, notes)
        notes += content_notes(pairs, chosen, task)
    if held_out is None:
        pairs, held_out = _hold_out(pairs, chosen)
    notes += same_notes(same_images(pairs, held_out))
    # Validation sees files on their own grid, as a prediction does.
    validate = (
        partial(validated, recipe=chosen, pairs=held_out, normalize=assembly.pipeline.normalize)
        if held_out
        else None
    )
    pairs = apply_view(pairs, rules.view)
    second = None if second is None else apply_view(second, rules.view)
    start = Start(out, init, devices, resume)
    return _run(
        assembly,
        pairs,
        start=start,
        second=second,
        validate=validate,
        notes=notes,
        reasons=reasons,
    )


def _recipe_of(
    recipe: RecipeLike | Plan | None,
    images: Paths,
    labels: Paths | None,
    out: str | Path,
    minutes: float | None,
    settings: Settings,
    *,
    resume: bool,
) -> tuple[RecipeLike, list[str]]:
    """The recipe that was asked for, that of the run that resumes, or a plan with its reasons."""
    if minutes is not None and recipe is not None:
        raise RecipeError(
            "minutes: expected no recipe with it, found one. They are for plans; leave out either, "
            "or --set train.steps=..."
        )
    written = Path(out) / "recipe.yaml"
    if recipe is None and resume and written.is_file():
        return str(written), []
    if recipe is None:
        recipe = plan(images, labels=labels, minutes=minutes, settings=settings)
    if not isinstance(recipe, Plan):
        return recipe, []
    return recipe.recipe, ["Plan:", *describe_plan(recipe)]


def _with_replay(recipe: Recipe, *, given: bool) -> Recipe:
    """The recipe with a share of the second source, if there is one."""
    if given and recipe.data.replay is None:
        return recipe.with_settings(["data.replay={batch: 1}"])
    if recipe.data.replay is not None and not given:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected a second source for data.replay, found none. Give "
            "--replay-images and --replay-labels, or --set data.replay=null."
        )
    return recipe


def _second(
    name: str,
    images: Paths | None,
    labels: Paths | None,
    open_files: Callable[..., list[Pair]],
    notes: list[str],
) -> list[Pair] | None:
    """Pairs that are not trained on alone; None if none are given."""
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise DataError(f"{name}: expected images and labels, found one of them. Give both.")
    unlabeled: list[str] = []
    pairs = open_files(images, labels, unlabeled=unlabeled)
    notes += left_out_note(name, len(pairs), unlabeled)
    return pairs


def _no_labels(images: Paths) -> str:
    image_files(images, [])
    return message(
        "Training",
        expected="labels for the images",
        found=f"none in or next to {', '.join(map(str, as_inputs(images)[:3]))}",
        do=f"Give them with --labels{neighbor_hint(images)}.",
    )


def _run(
    assembly: Assembly[Any],
    pairs: Sequence[Pair],
    *,
    start: Start,
    second: Sequence[Pair] | None = None,
    validate: Callable[[Segmenter], dict[str, float]] | None = None,
    notes: Sequence[str] = (),
    reasons: Sequence[str] = (),
) -> Run:
    """Train the objective on ``pairs``, and on a share of ``second``, into a run folder."""
    begin = time.perf_counter()
    folder = Path(start.out)
    recipe, sampling = assembly.recipe, assembly.sampling
    objective: Objective = assembly.objective
    if sampling is not None:
        modalities.check_start(sampling, folder, init=start.init is not None, resume=start.resume)
    origin = [] if start.init is None else initialize(objective, start.init, recipe)
    code = checkpoint.code_fields(recipe)
    fabric = _place(objective, recipe, start.devices)
    used = [*pairs, *(second or ())]
    marks = fingerprint(used)
    with (
        launched(fabric),
        checkpoint.lock_run(folder) if fabric.is_global_zero else nullcontext(),
    ):
        noted = {**marks, **code_marks(code)}
        new = is_new_run(folder, recipe, noted, resume=start.resume)
        # Files are read here; nothing is written before their pixels are known to be right.
        crops = _source(assembly, pairs, second or (), fabric=fabric, start=start)
        if new:
            note_run(folder, recipe, noted)
        card = {
            "recipe": recipe.model_dump(mode="json"),
            "data": marks,
            "versions": versions(),
            **code,
        }
        card |= _object_sizes(objective, pairs, recipe)
        look = partial(check_unchanged, marks, used)
        with Journal(folder, steps=recipe.train.steps) as journal:
            for line in (*reasons, *_note(crops, notes), *origin, *_at_rest(objective)):
                journal.say(line)
            summary = fit(
                objective,
                partial(_stream, crops, fabric, recipe.train.workers, look),
                fabric=fabric,
                optimizer=assembly.optimizer,
                plan=build_plan(recipe),
                journal=journal,
                validate=validate,
                run=RunFolder(folder, card, resume=start.resume),
            )
    seconds = time.perf_counter() - begin
    return Run(folder, folder / "model.safetensors", summary.metrics, summary.step, seconds)


def _place(objective: Objective, recipe: Recipe, devices: int) -> Fabric:
    """The devices of a training, in the precision of its recipe."""
    count, machines = started(devices)
    crop = (recipe.data.channels, *recipe.data.crop)
    unused = count * machines > 1 and objective.leaves_weights_out(crop)
    fabric = make_fabric(count, recipe.train.precision, num_nodes=machines, unused=unused)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def _note(crops: Crops | Replay, notes: Sequence[str]) -> Iterator[str]:
    """Lines of the notes, and of images without objects."""
    first = crops.first if isinstance(crops, Replay) else crops
    empty = [f"{source}: no object, all labels are 0." for source in first.empty]
    yield from (f"note: {note}" for note in grouped([*notes, *empty]))


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
    *,
    fabric: Fabric,
    start: Start,
) -> Crops | Replay:
    """Batches of ``pairs``, in the order of the recipe, joined with those of ``second`` if any."""
    recipe, task, pipeline = assembly.recipe, assembly.task, assembly.pipeline
    share = len(pairs) / (len(pairs) + len(second))
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
    if not second:
        return crops
    replay = build_replay(recipe, second, task, pipeline=pipeline, share=1 - share)
    return Replay(crops, replay)


def _stream(
    crops: Crops | Replay, fabric: Fabric, workers: int, look: Callable[[], None], start: int
) -> Iterator[Batch]:
    """Batches of this process; every process of a group draws others.

    Now and then ``look`` is called, which refuses files that have changed since the start.
    """

    def make(index: int) -> Batch:
        if index % _LOOK_EVERY == 0:
            look()
        return crops.batch(index * fabric.world_size + fabric.global_rank)

    return batches(make, start, workers=workers)


def _hold_out(pairs: list[Pair], recipe: Recipe) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs; nothing is held out of fewer than five."""
    count = round(len(pairs) * recipe.data.holdout)
    if len(pairs) < 5 or recipe.data.holdout == 0:
        return pairs, []
    order = generator(recipe.train.seed, "holdout").permutation(len(pairs))
    chosen = set(order[: min(max(1, count), len(pairs) - 1)].tolist())
    held_out = [pair for index, pair in enumerate(pairs) if index in chosen]
    return [pair for index, pair in enumerate(pairs) if index not in chosen], held_out
