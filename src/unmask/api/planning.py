"""``plan``: from images and labels to a recipe with the reason for every choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from unmask.api.inputs import content_notes, find_inputs, labels_of, parts_of
from unmask.api.values import ModelLike, Settings
from unmask.atomic import atomic_write, refuse_folder
from unmask.build import build_task
from unmask.checkpoint import describe_model, described_recipe
from unmask.crossvalidation.split import count_regions
from unmask.data.channel_choice import ChannelChoice
from unmask.data.drawn import DrawnLabels, label_files
from unmask.data.exchange import explain_unreadable
from unmask.data.grid import View
from unmask.data.pairing import image_files
from unmask.data.pairs import Layout, Pair, Paths, open_as_seen, open_pairs
from unmask.data.tables import is_table
from unmask.errors import CheckpointError, DataError, message
from unmask.io.inputs import as_inputs
from unmask.own_files import refuse_existing
from unmask.planning.decision import Decision
from unmask.planning.fold_rules import choose_folds, fold_decisions
from unmask.planning.network_rules import (
    fit_batch,
    rate_decision,
    schedule_decisions,
    share_for,
)
from unmask.planning.plan import Plan, make_plan, measure, shrink_crops
from unmask.planning.text import plan_to_yaml
from unmask.progress import duration
from unmask.recipe import Recipe, check_settings, load
from unmask.starts.choose import AUTO, NONE, WORDS, shipped_start
from unmask.starts.known import score_start
from unmask.training.advice import open_first, suggest
from unmask.training.precision import Measured
from unmask.training.threads import measure_threads, use_threads
from unmask.training.timing import time_updates

# Part of the minutes that updates get; the rest is for validation, snapshots and start-up.
_UPDATES = 0.85
_FEWEST, _MOST = 20, 50_000
_SLICES = "save slices as files of their own"
# Settings that say how files are read.
_READING = (
    *("data.axes", "data.image_suffix", "data.label_suffix", "data.allow_external"),
    "data.use_channels",
)


def _check_target(out: str | Path | None) -> None:
    """Refuse a file that exists: a recipe is written to be edited, and edits are never replaced."""
    if out is not None:
        refuse_folder(out)
        refuse_existing(out)


def plan(
    images: Paths,
    *,
    labels: Paths | None = None,
    minutes: float | None = None,
    out: str | Path | None = None,
    init: ModelLike | None = AUTO,
    settings: Settings = (),
) -> Plan:
    """Measure images and labels and derive a recipe from them.

    Args:
        images: file, folder, glob or OME-Zarr, or several of them; arrays work too.
        labels: labels of some or all of the images.
        minutes: time for the training on this device; a few updates are timed. Default: the number
            of updates of the presets.
        out: YAML file that gets the recipe, with the reasons as comments.
        init: weights that the training will start from, as for `unmask.train`; the plan takes the
            backbone of a model that has as many axes as the labels, and small steps if the weights
            know the task.
        settings: ``key=value`` choices of your own, which the plan keeps.

    Returns:
        The plan; ``plan.recipe`` goes to `unmask.train`.

    Raises:
        DataError: files cannot be read, or there are no labels.
        RecipeError: settings of unknown fields, before any file is read.
    """
    settings = list(settings)
    check_settings(settings)
    _check_target(out)
    made = derive(images, labels=labels, minutes=minutes, init=init, settings=settings)
    if out is not None:
        atomic_write(out, plan_to_yaml(made))
    return made


def derive(
    images: Paths,
    *,
    labels: Paths | None,
    minutes: float | None,
    init: ModelLike | None,
    settings: Sequence[str],
    check: Callable[[Recipe], object] | None = None,
) -> Plan:
    """As `plan`, with checked settings.

    Args:
        images: as for `plan`.
        labels: as for `plan`.
        minutes: as for `plan`.
        init: as for `plan`.
        settings: as for `plan`.
        check: refuses what the training would refuse, by the recipe so far. It runs before updates
            are timed, which takes long; without ``minutes`` nothing is timed, and it is not called.

    Raises:
        DataError: as `plan`; or labels that nothing can be trained on.
    """
    found = find_inputs(images, labels)
    images, val_images = parts_of(found.images, found.val_images, None)
    split = val_images is not None
    labels = labels_of(images, found.labels)
    if labels is None or is_table(labels):
        raise DataError(_no_label_images(images, labels))
    pairs, named = _opened(images, labels, settings)
    known: dict[str, Any] = {"classes": _wants_classes(settings)}
    if known["classes"] is None and _are_outlines(labels):
        known = {"classes": False, "why": "outlines are of objects"}
    with explain_unreadable(images, labels, pairs):
        facts = measure(pairs, ignore_label=_ignored(settings), **known)
    planned = make_plan(facts, minutes=minutes)
    start = _start_of(init, planned.recipe)
    if start is not None and str(init) not in WORDS:
        named += _backbone_of(*start, planned.recipe)
    made = _decided(planned.with_decisions(named), settings)
    content_notes(pairs, made.recipe, build_task(made.recipe))
    if check is not None and minutes is not None:
        check(made.recipe)
    if start is not None and not _sets(settings, "train.lr"):
        made = made.with_decisions(_rate_of(*start, made.recipe, pairs))
    return _scheduled(made, pairs, minutes, settings, split=split)


def _no_label_images(images: Paths, labels: Paths | None) -> str:
    """The message for images without labels, or with a table of classes.

    Raises:
        DataError: there are no images.
    """
    do = "Give --labels. Without labels, pre-train: unmask pretrain --preset mae2d."
    if labels is None:
        # Of a path that leads to nothing, that is what is wrong.
        image_files(images, [])
    else:
        do = f"Name the preset for classes of whole images. {suggest(images, labels)[1]}"
    return message(
        "plan",
        expected="label images, to derive the task from",
        found="none" if labels is None else f"a table of classes ({as_inputs(labels)[0]})",
        do=do,
    )


def _opened(images: Paths, labels: Paths, settings: Settings) -> tuple[list[Pair], list[Decision]]:
    """Labeled pairs of as many axes as the first readable labels have, then the other images.

    The decision is on axes that the files do not name.
    """
    own = [line for line in settings if line.partition("=")[0].strip() in _READING]
    data = load("mae2d").with_settings(own).data
    rules = Layout(
        0,
        data.axes,
        data.image_suffix,
        data.label_suffix,
        allow_external=data.allow_external,
        channels=ChannelChoice(data.use_channels),
    )
    first, axes = open_first(images, labels, rules)
    named = []
    if axes != data.axes:
        text = f"labels have {first.ndim} axes, so the first of {first.ndim + 1} holds channels"
        named = [Decision("data.axes", axes, text, sure=False, otherwise=_SLICES)]
    rules, unlabeled = replace(rules, ndim=first.ndim, axes=axes), list[str]()
    pairs = open_pairs(images, labels, rules, unlabeled=unlabeled)
    # Images without labels tell what the model will have to see: color, sizes, voxels.
    return [*pairs, *(Pair(path, open_as_seen(path, rules, None)) for path in unlabeled)], named


def _start_of(init: ModelLike | None, planned: Recipe) -> tuple[str, Recipe] | None:
    """Name and recipe of the weights to start from; None: random weights."""
    if init is None or str(init) == NONE:
        return None
    if str(init) in WORDS:
        shipped = shipped_start(str(init), planned)
        return None if shipped is None else (shipped.name, shipped.recipe)
    return str(init), described_recipe(describe_model(init).card, init)


def _backbone_of(name: str, start: Recipe, planned: Recipe) -> list[Decision]:
    """The decision for the backbone of a model; weights of another one could not be taken over."""
    backbone = start.model.backbone
    other_axes = start.data.ndim != planned.data.ndim
    # A backbone from a file of someone else would run its code.
    if other_axes or backbone == planned.model.backbone or ":" in backbone.name:
        return []
    value = backbone.model_dump(mode="json")
    return [Decision("model.backbone", value, f"the network of {name} (--init)")]


def _rate_of(name: str, start: Recipe, made: Recipe, pairs: Sequence[Pair]) -> list[Decision]:
    """The learning rate, if weights of planes fit the network and know the task."""
    tasks = [None if each.task is None else each.task.name for each in (start, made)]
    same = tasks[0] == tasks[1] and start.model.backbone == made.model.backbone
    if not same or made.data.ndim > 2:
        return []
    known = None
    # Other numbers of channels are adapted by the training alone.
    if made.data.channels in (1, start.data.channels) and tasks[0] == "flows":
        # A model that brings code is not run for a plan, and the training says what is wrong.
        with suppress(CheckpointError):
            known = score_start(name, pairs, made.data.scale)
    return [rate_decision(name, known)]


def _ignored(settings: Settings) -> int | None:
    """The value of ``data.ignore_label`` in the user's settings."""
    own = [line for line in settings if line.partition("=")[0].strip() == "data.ignore_label"]
    return load("cells").with_settings(own).data.ignore_label


def _wants_classes(settings: Settings) -> bool | None:
    """Whether the task in the user's settings predicts classes; None without such a setting."""
    own = [line for line in settings if line.partition("=")[0].strip() in ("task", "task.name")]
    task = load("cells").with_settings(own).task
    return None if not own or task is None else task.name == "semantic"


def _are_outlines(labels: Paths) -> bool:
    """Whether all labels are outlines, each of which is an object, however few they are."""
    return all(isinstance(path, DrawnLabels) for _, path in label_files(labels))


def _decided(made: Plan, settings: Settings) -> Plan:
    """The plan with the user's own choices in place of its decisions."""
    own = keep_task(made.recipe, settings)
    if not own:
        return made
    recipe = made.recipe.with_settings(own)
    fields = {line.partition("=")[0].strip() for line in own}
    kept = tuple(each for each in made.decisions if each.field not in fields)
    return replace(made, recipe=recipe, decisions=kept)


def keep_task(recipe: Recipe, settings: Settings) -> list[str]:
    """Settings without the one that names the task of a planned recipe.

    It would reset the options that the plan found for the task.
    """
    named = f"task={recipe.task.name if recipe.task else ''}"
    return [line for line in settings if line and line.replace(" ", "") != named]


def _scheduled(
    made: Plan,
    pairs: Sequence[Pair],
    minutes: float | None,
    settings: Settings,
    *,
    split: bool,
) -> Plan:
    """The plan with the number of updates and of folds.

    Args:
        made: the plan so far.
        pairs: images, with labels or without.
        minutes: time for all trainings; None: no limit.
        settings: settings of the user.
        split: whether validation images are given.
    """
    labeled = [pair for pair in pairs if pair.labels is not None]
    own = _sets(settings, "train.steps")
    recipe, each = made.recipe, 0.0
    if own:
        total, reason = recipe.train.steps, ""
    elif minutes is None:
        # Few images need fewer updates, so the total also pays for a cross-validation.
        total, reason = 2 * recipe.train.steps, "no time limit was given (--minutes)"
    else:
        update, device = _time_update(labeled, recipe)
        whole = int(minutes * 60 * _UPDATES / update)
        made, share = _with_batch(made, whole, settings)
        made, share = _with_crops(made, whole, share, minutes, settings)
        total, each = int(whole / share), update * share / _UPDATES
        reason = (
            f"one update takes {update * share:.2g} s on {device} at present, "
            f"and the time limit is {minutes:g} min (--minutes)"
        )
    folds = recipe.train.folds
    if not split and not _sets(settings, "train.folds"):
        regions = _regions(labeled, recipe) if len(labeled) == 1 else 0
        folds = choose_folds(len(labeled), regions, total, each=own)
        made = made.with_decisions(fold_decisions(len(labeled), regions, folds))
    if own:
        # Warm-up and averaging follow from the number of updates, unless they were set as well.
        _, *rest = schedule_decisions(total, "")
        return _decided(made.with_decisions(rest), settings)
    if minutes is None:
        return made if not folds else _with_steps(made, total // (folds + 1), reason, folds)
    steps = max(_FEWEST, min(total // (folds + 1), _MOST))
    needed = steps * (folds + 1) * each
    if needed > minutes * 60:
        # Crops of large objects cannot become small enough.
        reason += (
            f"; fewer than {_FEWEST} would teach nothing, so the training takes about "
            f"{duration(needed)}"
        )
    return _with_steps(made, steps, reason, folds)


def _time_update(labeled: Sequence[Pair], recipe: Recipe) -> tuple[float, torch.device]:
    """Seconds per update and its device, with as many threads as the training will choose.

    Minutes are those of a clock, so other programs count.
    """
    with use_threads(recipe.train.threads):
        timing = time_updates(labeled, recipe)
    if timing.device.type == "cpu":
        measured = Measured(recipe, {recipe.train.precision: timing})
        measured = measure_threads(labeled, measured, time_updates=time_updates)
        timing = measured.timing or timing
    return timing.wall, timing.device


def _with_batch(made: Plan, updates: int, settings: Settings) -> tuple[Plan, float]:
    """The plan with a batch that suits the time, and its size as a share of the planned one."""
    size = made.recipe.train.batch_size
    smaller = size if _sets(settings, "train.batch_size") else fit_batch(size, updates)
    if smaller == size:
        return made, 1.0
    reason = f"only {updates} updates of {size} crops fit into the time; smaller ones are more"
    return made.with_decisions([Decision("train.batch_size", smaller, reason)]), smaller / size


def _with_crops(
    made: Plan, updates: int, share: float, minutes: float, settings: Settings
) -> tuple[Plan, float]:
    """The plan with crops that suit the time, and its voxels per update as a share."""
    fit = int(updates / share)
    voxels = share_for(fit)
    if voxels == 1 or _sets(settings, "data.crop"):
        return made, share
    before = made.recipe.data.crop
    size = " x ".join(map(str, before))
    reason = f"only {fit} updates with crops of {size} fit into the time; smaller ones are more"
    made = _decided(shrink_crops(made, voxels, minutes, reason), settings)
    return made, share * prod(made.recipe.data.crop) / prod(before)


def _with_steps(made: Plan, steps: int, reason: str, folds: int) -> Plan:
    """The plan with ``steps`` updates per training."""
    every = max(10, min(500, steps // 8))
    if folds:
        reason += f"; {(folds + 1) * steps} updates for {folds} folds and the final training"
    return made.with_decisions(
        [
            *schedule_decisions(steps, reason),
            Decision("train.validate_every", every, "eight validations per training, or more"),
            Decision("train.save_every", every, "a snapshot with every validation"),
        ]
    )


def _regions(labeled: Sequence[Pair], recipe: Recipe) -> int:
    """Number of regions that the only labeled image can be cut into."""
    image, data = labeled[0].image, recipe.data
    factor = View(data.spacing, None, data.scale).place(image).factor
    return count_regions(image.shape[1:], [round(n / factor) for n in data.crop])


def _sets(settings: Settings, field: str) -> bool:
    return any(line.partition("=")[0].strip() == field for line in settings)
