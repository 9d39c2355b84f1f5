"""From a recipe to what the loop needs: objective, crops, plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from unmask.data import AUGMENTATIONS, NORMALIZERS
from unmask.data.crops import CropPlan, Crops
from unmask.data.pairs import Encode, Layout, Pair
from unmask.errors import RecipeError, UnmaskError, gather
from unmask.lookup import build
from unmask.models.base import Objective
from unmask.pretraining import METHODS
from unmask.recipe import Recipe
from unmask.space.random import device_seed
from unmask.tasks.base import Task
from unmask.tasks.segmenter import Segmenter, build_backbone, build_segmenter, build_task
from unmask.training.optim import OPTIMIZERS, parameter_groups
from unmask.training.plan import Plan

Built = TypeVar("Built", bound=nn.Module)


def layout(recipe: Recipe) -> Layout:
    """How the recipe's files are to be understood."""
    part = recipe.data
    return Layout(part.ndim, part.axes, part.image_suffix, part.label_suffix)


def new_segmenter(recipe: Recipe) -> Segmenter:
    """A segmenter with fresh weights, a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe.
    """
    return _built(recipe, lambda: build_segmenter(recipe))


def new_method(recipe: Recipe) -> Objective:
    """A pre-training method with fresh weights, a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe; or it fine-tunes.
    """
    method = recipe.method
    if method is None:
        raise RecipeError(
            f"recipe {recipe.name!r}: expected a pre-training method, found the task "
            f"{recipe.task.name if recipe.task else None!r}. Use `unmask train`."
        )

    def network() -> Any:
        return build(method.choice, METHODS, "method", backbone=build_backbone(recipe))

    return _built(recipe, network)


def _built(recipe: Recipe, network: Callable[[], Built]) -> Built:
    """``network`` with the recipe's seed, after every other part was tried, before data is read."""
    with torch.random.fork_rng(devices=[]):
        problems = _problems(recipe)
        torch.manual_seed(device_seed(recipe.train.seed, "weights"))
        try:
            found = network()
        except UnmaskError as error:
            problems += [str(error), *_failures([lambda: build_backbone(recipe)])]
        else:
            problems += _empty(found)
            if not problems:
                return found
    found = list(dict.fromkeys(problems))
    one = len(found) == 1
    raise RecipeError(found[0] if one else gather(found, heading=f"{len(found)} problems found:"))


def _problems(recipe: Recipe) -> list[str]:
    """What is wrong with the parts beside the network."""
    part = recipe.data
    attempts: list[Callable[[], object]] = [
        partial(build, each.choice, AUGMENTATIONS, "data.augment") for each in part.augment
    ]
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


def build_crops(recipe: Recipe, pairs: Sequence[Pair], task: Task | None) -> Crops:
    """Batches of the recipe; with targets where there is a task."""
    part = recipe.data
    parts = tuple(build(each.choice, AUGMENTATIONS, "data.augment") for each in part.augment)
    plan = CropPlan(
        crop=part.crop,
        channels=part.channels,
        batch_size=recipe.train.batch_size,
        foreground=part.foreground if task is not None else 0.0,
        seed=recipe.train.seed,
        parts=parts,
    )
    return Crops(
        pairs,
        plan,
        normalize=build(part.normalize.choice, NORMALIZERS, "data.normalize"),
        encode=None if task is None else encoder(task),
        cache_bytes=part.cache_gb * 1e9,
    )


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
