"""From a recipe to what the loop needs: objective, crops, plan."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from unmask.data import AUGMENTATIONS, LABEL_CHANGES, NORMALIZERS, SAMPLINGS
from unmask.data.crops import CropPlan, Crops
from unmask.data.grid import View
from unmask.data.pairs import Encode, Layout, Pair
from unmask.data.sampling import Modalities
from unmask.errors import DataError, RecipeError, UnmaskError, gather
from unmask.lookup import build
from unmask.models.base import Objective, TokenBackbone
from unmask.models.patches import grid_of
from unmask.pretraining import METHODS
from unmask.recipe import Part, Recipe, ReplayRecipe, load
from unmask.space.random import device_seed
from unmask.tasks.base import Task
from unmask.tasks.segmenter import Segmenter, build_backbone, build_segmenter, build_task
from unmask.training.optim import OPTIMIZERS, parameter_groups
from unmask.training.plan import Plan

Built = TypeVar("Built", bound=nn.Module)
Network = TypeVar("Network", bound=Objective)


def settled(source: str | Path | Recipe, settings: Iterable[str]) -> Recipe:
    """A recipe by name, file or value, with settings.

    Raises:
        RecipeError: everything that is wrong with its fields, with the settings, and with the parts
            that can be looked at in spite of that.
    """
    problems: list[str] = []
    recipe: Recipe | None = None
    try:
        recipe = load(source)
    except RecipeError as error:
        problems, recipe = list(error.problems), error.mended
    if recipe is not None:
        try:
            recipe = recipe.with_settings(settings)
        except RecipeError as error:
            problems, recipe = [*problems, *error.problems], error.mended
    if recipe is not None and not problems:
        return recipe
    if recipe is not None:
        network = build_segmenter if recipe.method is None else _build_method
        problems += _tried(recipe, partial(_frozen, recipe, network))[1]
    raise _refusal(problems)


def layout(recipe: Recipe) -> Layout:
    """How the recipe's files are to be understood."""
    part = recipe.data
    ndim = part.ndim + (part.sections is not None)
    classes = () if recipe.task is None else build_task(recipe).image_classes
    view = View(part.spacing, part.foreground_crop)
    return Layout(
        ndim, part.axes, part.image_suffix, part.label_suffix, classes, view, part.allow_external
    )


def new_segmenter(recipe: Recipe) -> Segmenter:
    """A segmenter with fresh weights, a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe.
    """
    return _built(recipe, partial(_frozen, recipe, build_segmenter))


def new_method(recipe: Recipe) -> Objective:
    """A pre-training method with fresh weights, a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe; or it fine-tunes.
    """
    return _built(recipe, partial(_frozen, recipe, _build_method))


def _frozen(recipe: Recipe, network: Callable[[Recipe], Network]) -> Network:
    """The network with the parts at rest that the recipe names."""
    built = network(recipe)
    parts = {name for name, _ in built.named_modules() if name}
    unknown = [name for name in recipe.train.freeze if name not in parts]
    if unknown:
        near = difflib.get_close_matches(unknown[0], parts, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"train.freeze={list(recipe.train.freeze)}: expected parts of the network such as "
            f"backbone, found {unknown[0]!r}. {hint}Change the recipe or --set it."
        )
    built.freeze(recipe.train.freeze)
    return built


def _build_method(recipe: Recipe) -> Any:
    if recipe.method is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected a pre-training method, found the task "
            f"{recipe.task.name if recipe.task else None!r}. Use `unmask train`."
        )
    backbone = build_backbone(recipe)
    if isinstance(backbone, TokenBackbone):
        # whole patches are hidden and painted; for features an image is padded
        try:
            grid_of(recipe.data.crop, backbone.patch)
        except DataError as error:
            raise RecipeError(f"data.crop with method {recipe.method.name}: {error}") from error
    given = {"backbone": backbone, "steps": recipe.train.steps}
    return build(recipe.method.choice, METHODS, "method", **given)


def _built(recipe: Recipe, network: Callable[[], Built]) -> Built:
    found, problems = _tried(recipe, network)
    if problems or found is None:
        raise _refusal(problems)
    return found


def _tried(recipe: Recipe, network: Callable[[], Built]) -> tuple[Built | None, list[str]]:
    """``network`` with the recipe's seed, and what is wrong with it and with every other part."""
    found: Built | None = None
    with torch.random.fork_rng(devices=[]):
        problems = _problems(recipe)
        torch.manual_seed(device_seed(recipe.train.seed, "weights"))
        try:
            found = network()
        except UnmaskError as error:
            problems += [str(error), *_failures([lambda: build_backbone(recipe)])]
        else:
            problems += _empty(found)
    return found, problems


def _refusal(problems: Sequence[str]) -> RecipeError:
    """All problems as one error."""
    found = list(dict.fromkeys(problems))
    one = len(found) == 1
    return RecipeError(found[0] if one else gather(found, heading=f"{len(found)} problems found:"))


def _problems(recipe: Recipe) -> list[str]:
    """What is wrong with the parts beside the network."""
    part = recipe.data
    replay = part.replay or ReplayRecipe()
    attempts: list[Callable[[], object]] = [
        partial(_augmentations, [each]) for each in (*part.augment, *(replay.augment or ()))
    ]
    attempts += [
        partial(_label_changes, recipe, [each])
        for each in (*part.label_changes, *(replay.label_changes or ()))
    ]
    attempts.append(partial(build_sampling, recipe))
    attempts.append(lambda: build(part.normalize.choice, NORMALIZERS, "data.normalize"))
    attempts.append(lambda: _optimizer(recipe, parameter_groups(nn.Linear(1, 1), **_rates(recipe))))
    if recipe.task is not None:
        attempts.append(lambda: build_task(recipe))
    sizes = {"data.crop": part.crop, "infer.tile": recipe.infer.tile or part.crop}
    return [
        f"{name}={list(size)}: expected lengths of 1 or more. Change the recipe or --set it."
        for name, size in sizes.items()
        if min(size, default=0) < 1
    ] + _failures(attempts)


def _empty(network: nn.Module) -> list[str]:
    """Layers of no channels, which PyTorch builds and which learn nothing."""
    return [
        f"model: expected weights in every layer, found none in {name}. Choose positive widths "
        "and depths."
        for name, values in network.named_parameters()
        if values.numel() == 0
    ][:1]


def _failures(attempts: Sequence[Callable[[], object]]) -> list[str]:
    problems: list[str] = []
    for attempt in attempts:
        try:
            attempt()
        except UnmaskError as error:
            problems.append(str(error))
    return problems


def build_crops(
    recipe: Recipe,
    pairs: Sequence[Pair],
    task: Task | None,
    *,
    share: float = 1.0,
) -> Crops:
    """Batches of the recipe; with targets where there is a task.

    Args:
        recipe: how.
        pairs: of what.
        task: encodes targets.
        share: of the memory that decoded images may take.
    """
    part = recipe.data
    plan = CropPlan(
        crop=part.crop,
        channels=part.channels,
        batch_size=recipe.train.batch_size,
        foreground=part.foreground if task is not None else 0.0,
        seed=recipe.train.seed,
        parts=_augmentations(part.augment),
        changes=_label_changes(recipe, part.label_changes),
        border=part.border,
    )
    return Crops(
        pairs,
        plan,
        normalize=build(part.normalize.choice, NORMALIZERS, "data.normalize"),
        encode=None if task is None else encoder(task),
        cache_bytes=part.cache_gb * 1e9 * share,
    )


def build_replay(
    recipe: Recipe, pairs: Sequence[Pair], task: Task | None, *, share: float = 1.0
) -> Crops:
    """``data.replay.batch`` crops of a second source, for every batch of the first.

    Raises:
        RecipeError: the recipe has no ``data.replay``.
    """
    part = recipe.data.replay
    if part is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected data.replay for a second source, found none. "
            "Give --set 'data.replay={batch: 1}'."
        )
    # Neither source may draw what the other does at the same place.
    train = {"batch_size": part.batch, "seed": device_seed(recipe.train.seed, "replay")}
    changes = {
        name: given
        for name in ("augment", "label_changes")
        if (given := getattr(part, name)) is not None
    }
    other = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(update=train),
            "data": recipe.data.model_copy(update=changes),
        }
    )
    return build_crops(other, pairs, task, share=share)


def _augmentations(parts: Sequence[Part]) -> tuple[Any, ...]:
    return tuple(build(each.choice, AUGMENTATIONS, "data.augment") for each in parts)


def _label_changes(recipe: Recipe, parts: Sequence[Part]) -> tuple[Any, ...]:
    given = {"ignore_label": recipe.data.ignore_label}
    return tuple(build(each.choice, LABEL_CHANGES, "data.label_changes", **given) for each in parts)


def build_sampling(recipe: Recipe) -> Modalities | None:
    """How images of rare kinds come more often; None where every image comes once an epoch."""
    part = recipe.data.sampling
    return None if part is None else build(part.choice, SAMPLINGS, "data.sampling")


def build_plan(recipe: Recipe) -> Plan:
    """The recipe's optimisation as the loop takes it."""
    train = recipe.train
    return Plan(
        steps=train.steps,
        accumulate=train.accumulate,
        clip=train.clip,
        lr=train.lr,
        warmup=train.warmup,
        final_lr=train.final_lr,
        cosine_steps=train.cosine_steps,
        final_weight_decay=train.final_weight_decay,
        ema=train.ema,
        validate_every=train.validate_every,
        save_every=train.save_every,
        keep=train.keep,
        bad_steps=train.bad_steps,
        seed=train.seed,
    )


def build_optimizer(recipe: Recipe, objective: nn.Module) -> Optimizer:
    """The recipe's optimiser over the parameters that are trained."""
    groups = parameter_groups(objective, **_rates(recipe), layer_decay=recipe.train.layer_decay)
    return _optimizer(recipe, groups)


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> Optimizer:
    train = recipe.train
    return build(train.optimizer.choice, OPTIMIZERS, "train.optimizer", groups=groups, lr=train.lr)


def _rates(recipe: Recipe) -> dict[str, float]:
    decay = recipe.train.optimizer.choice.options.get("weight_decay", 0.05)
    if isinstance(decay, bool) or not isinstance(decay, int | float) or decay < 0:
        raise RecipeError(
            f"train.optimizer.weight_decay={decay!r}: expected a number of 0 or more. "
            "Correct the recipe."
        )
    return {"lr": recipe.train.lr, "weight_decay": float(decay)}


def encoder(task: Task) -> Encode:
    """The task's targets as the data pipeline takes them."""

    def encode(
        labels: np.ndarray, spacing: tuple[float, ...] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        target = task.encode(labels, spacing)
        return target.values, target.weight

    return encode
