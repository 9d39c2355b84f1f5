"""``pretrain`` and ``train``: from files to a run folder with its best model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from unmask.api.held_out import CrossValidation, refuse_folds, run_with_folds
from unmask.api.inputs import (
    content_notes,
    find_inputs,
    labels_of,
    left_out_note,
    list_next_to,
    neighbor_hint,
    parts_of,
    same_notes,
)
from unmask.api.planning import derive, keep_task
from unmask.api.runs import Run, Start, run_training
from unmask.api.scribbling import fit_pixels, is_pixels
from unmask.api.unlabeled import open_unlabeled, unlabeled_note, with_unlabeled
from unmask.api.validation import HeldOut
from unmask.api.values import ModelLike, Settings
from unmask.build import (
    Assembly,
    assemble_method,
    assemble_segmenter,
    build_task,
    layout,
    resolve_recipe,
)
from unmask.build.semisupervised import DEFAULT
from unmask.crossvalidation.split import class_notes, class_of, hold_out, validation_notes
from unmask.data.exchange import explain_unreadable
from unmask.data.fingerprint import same_images
from unmask.data.grid import View
from unmask.data.outputs import refuse_inside
from unmask.data.pairing import image_files
from unmask.data.pairs import (
    Layout,
    Pair,
    Paths,
    apply_view,
    audit_pairs,
    open_pairs,
)
from unmask.data.sections import orient
from unmask.errors import DataError, RecipeError, message
from unmask.io.inputs import as_inputs
from unmask.planning.fold_rules import FEW
from unmask.planning.plan import Plan
from unmask.planning.text import describe_plan
from unmask.recipe import Recipe, RecipeLike, check_settings, load
from unmask.starts.choose import AUTO
from unmask.starts.replay import draw_source, families_of
from unmask.tasks.base import CompleteTask
from unmask.tasks.segmenter import Segmenter
from unmask.training import count_processes
from unmask.training.saving import refuse_used
from unmask.training.trackers import build_trackers
from unmask.wording import format_part


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
        resume: continue from the newest snapshot in ``out``.

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
    if not resume:
        # Before the files are read, which takes long.
        refuse_used(Path(out))
    notes: list[str] = []
    rules = layout(chosen)
    pairs = apply_view(_open_unlabeled(images, chosen, rules, notes), rules.view)
    notes += content_notes(pairs, chosen, None)
    if chosen.data.sections is not None:
        pairs = orient(pairs, chosen.data.sections)
    return run_training(assembly, pairs, start=Start(out, init, devices, resume), notes=notes)


def _open_unlabeled(images: Paths, chosen: Recipe, rules: Layout, notes: list[str]) -> list[Pair]:
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
    init: ModelLike | None = AUTO,
    val_images: Paths | None = None,
    val_labels: Paths | None = None,
    replay_images: Paths | None = None,
    replay_labels: Paths | None = None,
    unlabeled: Paths | None = None,
    minutes: float | None = None,
    settings: Settings = (),
    devices: int = 1,
    resume: bool = False,
) -> Run:
    """Learn to segment from labeled images.

    Without ``val_images`` a share of the pairs is held out (``data.holdout``) to choose the best
    model, or each pair once (``train.folds``), which a plan chooses for fewer than 12 pairs.
    Arguments and errors are those of ``pretrain``, and:

    Args:
        recipe: preset name, YAML file or recipe with a ``task``, or a plan; None: a plan is made
            from the data (`unmask.plan`), and a run that resumes keeps its own recipe.
        images: images; they pair with labels by stem. A ``dataset.json`` has both, and with
            ``data.fold`` or a split of its own what is held out. Images without labels are left
            out.
        labels: label images or outlines; default: those in a folder next to or among the images.
        out: folder of the run.
        init: weights to start from. ``auto``: the shipped weights that were trained on synthetic
            images, if they fit the network and a short trial has a lower loss with them.
            ``phantoms``: the same without the trial. ``none`` or None: random weights. Otherwise a
            model file, run folder or shipped model: a pre-trained backbone or a whole segmenter.
        val_images: images of the validation.
        val_labels: labels of the validation.
        replay_images: images of a second source, such as those that the model ``init`` was trained
            on; every batch has ``data.replay.batch`` crops of it, 1 where the recipe says nothing.
            ``phantoms``, or ``phantoms:nuclei,worms``: synthetic images of all or some families,
            with their labels.
        replay_labels: labels of the second source.
        unlabeled: images without labels, for the method ``train.unlabeled``; images that are
            labeled or held out are skipped.
        minutes: time for the training, if a plan is made.
        settings: ``key=value`` changes to the recipe.
        devices: number of GPUs or processes.
        resume: continue from the newest snapshot in ``out``.
    """
    settings, start = list(settings), Start(out, init, devices, resume)
    files = _Files(images, labels, val_images, val_labels, replay_images, replay_labels, unlabeled)
    if not resume:
        # Before a plan is made, which takes long.
        refuse_folds(Path(out))
        refuse_used(Path(out))
    chosen, reasons = _recipe_of(recipe, files, start, minutes, settings)
    if is_pixels(chosen):
        return fit_pixels(chosen, **_for_pixels(files), start=start, settings=settings)
    return _train(chosen, files, start, reasons)


def _train(chosen: Recipe, files: _Files, start: Start, reasons: list[str]) -> Run:
    """Train a recipe by updates."""
    chosen = _with_replay(chosen, given=files.replay_images is not None)
    chosen = with_unlabeled(chosen, given=files.unlabeled is not None)
    assembly = assemble_segmenter(chosen)
    drawn = _drawn(files, chosen, assembly.task)
    opened = _open_files(drawn, chosen, assembly.task, start.out)
    if chosen.train.folds and not opened.held_out:
        return run_with_folds(opened.for_folds(chosen, start, reasons))
    with explain_unreadable(files.images, files.labels, [*opened.pairs, *opened.held_out]):
        return run_training(
            assembly,
            apply_view(opened.pairs, opened.view),
            start=start,
            second=opened.second,
            unlabeled=opened.unlabeled,
            validate=_validation(assembly, opened.held_out),
            notes=opened.notes,
            reasons=reasons,
        )


def _for_pixels(files: _Files) -> dict[str, Any]:
    """Images and labels for a pixel classifier, which supports no other images.

    Raises:
        RecipeError: a second source or unlabeled images.
    """
    if files.replay_images is not None or files.unlabeled is not None:
        raise RecipeError(
            message(
                "preset pixels",
                expected="images and their scribbles alone",
                found="--replay-images or --unlabeled",
                do="Leave them out, or train with another preset.",
            )
        )
    validation = (files.val_images, files.val_labels)
    return {"images": files.images, "labels": files.labels, "validation": validation}


@dataclass(frozen=True)
class _Files:
    """What `train` was given."""

    images: Paths
    labels: Paths | None
    val_images: Paths | None
    val_labels: Paths | None
    replay_images: Paths | None
    replay_labels: Paths | None
    unlabeled: Paths | None


def _drawn(files: _Files, chosen: Recipe, task: CompleteTask | None) -> _Files:
    """Replace the word ``phantoms`` of the replay images by synthetic images."""
    if families := families_of(files.replay_images):
        images, labels = draw_source(families, chosen, task)
        return replace(files, replay_images=images, replay_labels=labels)
    return files


@dataclass(frozen=True)
class _Opened:
    """Pairs to train on, those held out, the second source, images without labels, and notes.

    The pairs to train on are not yet resampled to the grid of ``view``.
    """

    pairs: list[Pair]
    view: View
    held_out: list[Pair]
    second: list[Pair] | None
    unlabeled: list[Pair] | None
    notes: list[str]

    def for_folds(self, recipe: Recipe, start: Start, reasons: list[str]) -> CrossValidation:
        """A training that holds every pair out once."""
        return CrossValidation(
            recipe,
            self.pairs,
            self.view,
            self.second,
            start,
            self.notes,
            reasons,
            unlabeled=self.unlabeled,
        )


def _open_files(
    files: _Files, chosen: Recipe, task: CompleteTask | None, out: str | Path
) -> _Opened:
    """Open and pair everything; all problems at once."""
    refuse_inside(out, *vars(files).values())
    found = find_inputs(files.images, files.labels, files.val_images, files.val_labels)
    images, val_images = parts_of(found.images, found.val_images, chosen.data.fold)
    labels = labels_of(images, found.labels)
    if labels is None:
        raise DataError(_no_labels(images))
    rules, notes, unlabeled = layout(chosen, task), list(found.notes), list[str]()
    open_files = partial(open_pairs, layout=rules, channels=chosen.data.channels, notes=notes)
    with list_next_to(out):
        pairs = open_files(images, labels, unlabeled=unlabeled)
        val_labels = labels_of(val_images, found.val_labels)
        if files.unlabeled is None:
            validation = (val_images, val_labels)
            notes += unlabeled_note(
                len(pairs), unlabeled, images, labels, validation=validation, out=out
            )
        held_out = _second("Validation", val_images, val_labels, open_files, notes)
        second = _second("Replay", files.replay_images, files.replay_labels, open_files, notes)
        notes += content_notes(pairs, chosen, task)
        notes += class_notes(pairs, rules.classes) if rules.classes else ()
    if chosen.train.folds and held_out is not None:
        notes.append(
            "Validation images are given, so no image is held out in folds "
            f"(train.folds={chosen.train.folds}); leave them out for a cross-validation."
        )
    with explain_unreadable(images, labels, pairs):
        if held_out is None and not chosen.train.folds:
            pairs, held_out = _hold_out(pairs, chosen, classes=bool(rules.classes))
            notes += _note_held_out(pairs, held_out, rules.classes)
        notes += validation_notes(held_out or (), rules.classes)
    notes += same_notes(same_images(pairs, held_out or ()))
    more = open_unlabeled(files.unlabeled, rules, chosen, [*pairs, *(held_out or ())], notes)
    second = None if second is None else apply_view(second, rules.view)
    return _Opened(pairs, rules.view, held_out or [], second, more, notes)


def _validation(assembly: Assembly[Segmenter], held_out: list[Pair]) -> HeldOut | None:
    """The scores of the pairs held out; files are seen on their own grid, as by a prediction."""
    if not held_out:
        return None
    return HeldOut(assembly.recipe, held_out, assembly.pipeline.normalize)


def _note_held_out(
    pairs: Sequence[Pair], held_out: Sequence[Pair], classes: Sequence[str] = ()
) -> list[str]:
    """What chooses the best model, if the user did not name it."""
    if not held_out:
        return ["No image is held out, so the last weights are kept and no score is reported."]
    shown = ", ".join(pair.name for pair in held_out[:3])
    more = ", ..." if len(held_out) > 3 else ""
    whole = len(pairs) + len(held_out)
    counts = Counter(classes[class_of(pair) - 1] for pair in held_out) if classes else {}
    several = f": {', '.join(f'{counts[name]} {name}' for name in classes)}" if classes else ""
    return [
        f"{format_part(len(held_out), whole, 'labeled image', 'are')} held out to choose the best "
        f"model ({shown}{more}{several}); train on others with --val-images or data.holdout."
        + (" With so few, --folds judges the model on each of them." if whole < FEW else "")
    ]


def _recipe_of(
    recipe: RecipeLike | Plan | None,
    files: _Files,
    start: Start,
    minutes: float | None,
    settings: list[str],
) -> tuple[Recipe, list[str]]:
    """The recipe that was asked for, that of the run that resumes, or a plan with its reasons.

    A plan that is made here has the settings already.
    """
    if minutes is not None and recipe is not None:
        raise RecipeError(
            "minutes: expected no preset and no recipe with it, found one. Minutes are for plans; "
            "leave out either, or --set train.steps=..."
        )
    written = Path(start.out) / "recipe.yaml"
    if recipe is None and start.resume and written.is_file():
        planned = load(str(written))
        return resolve_recipe(planned, keep_task(planned, settings)), []
    if recipe is None:
        asked = [line for line in settings if line.partition("=")[0].strip() == "train.trackers"]
        build_trackers(load("cells").with_settings(asked).train.trackers)
        # Validation images that are given, and several processes, rule out a cross-validation.
        alone = files.val_images is None and prod(count_processes(start.devices)) == 1
        own = settings if alone else ["train.folds=0", *settings]
        if files.unlabeled is not None:
            # Minutes are for updates that see unlabeled crops as well.
            own = [f"train.unlabeled={DEFAULT.name}", *own]
        check_settings(own)
        made = derive(
            files.images,
            labels=files.labels,
            minutes=minutes,
            init=start.init,
            settings=own,
            check=partial(_check_files, files, start),
        )
        return resolve_recipe(made.recipe, []), ["Plan:", *describe_plan(made)]
    if isinstance(recipe, Plan):
        return resolve_recipe(recipe.recipe, settings), ["Plan:", *describe_plan(recipe)]
    return resolve_recipe(recipe, settings), []


def _check_files(files: _Files, start: Start, planned: Recipe) -> None:
    """Refuse files that the training would refuse; nothing is held out or drawn yet."""
    if families_of(files.replay_images):
        files = replace(files, replay_images=None, replay_labels=None)
    folds = planned.with_settings(["train.folds=2"])
    _open_files(files, folds, build_task(folds), start.out)


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


def _hold_out(
    pairs: list[Pair], recipe: Recipe, *, classes: bool = False
) -> tuple[list[Pair], list[Pair]]:
    """Training and validation pairs of a recipe."""
    return hold_out(pairs, recipe.data.holdout, seed=recipe.train.seed, classes=classes)
