"""From a recipe to what the loop needs: objective, crops, plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from unmask.data import AUGMENTATIONS, NORMALIZERS
from unmask.data.crops import CropPlan, Crops, Encode
from unmask.data.pairs import Layout, Pair
from unmask.errors import RecipeError
from unmask.lookup import build
from unmask.models import BACKBONES
from unmask.models.base import Objective
from unmask.pretraining import METHODS
from unmask.recipe import Recipe
from unmask.space.random import device_seed
from unmask.tasks.base import Task
from unmask.tasks.segmenter import Segmenter, build_segmenter
from unmask.training.optim import OPTIMIZERS, parameter_groups
from unmask.training.plan import Plan


def layout(recipe: Recipe) -> Layout:
    """How the recipe's files are to be understood."""
    part = recipe.data
    return Layout(part.ndim, part.axes, part.image_suffix, part.label_suffix)


def new_segmenter(recipe: Recipe) -> Segmenter:
    """A segmenter with fresh weights, a pure function of the recipe and its seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(device_seed(recipe.train.seed, "weights"))
        return build_segmenter(recipe)


def new_method(recipe: Recipe) -> Objective:
    """A pre-training method with fresh weights, a pure function of the recipe and its seed.

    Raises:
        RecipeError: the recipe fine-tunes.
    """
    if recipe.method is None:
        raise RecipeError(
            f"recipe {recipe.name!r} expected a pre-training method, found the task "
            f"{recipe.task.name if recipe.task else None!r}. Use `unmask train`."
        )
    part = recipe.data
    given = {"ndim": part.ndim, "in_channels": part.channels, "image": part.crop}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(device_seed(recipe.train.seed, "weights"))
        backbone = build(recipe.model.backbone.choice, BACKBONES, "model.backbone", **given)
        return build(recipe.method.choice, METHODS, "method", backbone=backbone, **given)


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
        encode=None if task is None else _encoder(task),
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
    train = recipe.train
    options = dict(train.optimizer.choice.options)
    decay = float(options.get("weight_decay", 0.05))
    groups = parameter_groups(
        objective, lr=train.lr, weight_decay=decay, layer_decay=train.layer_decay
    )
    return build(train.optimizer.choice, OPTIMIZERS, "train.optimizer", groups=groups, lr=train.lr)


def _encoder(task: Task) -> Encode:
    def encode(
        labels: np.ndarray, spacing: tuple[float, ...] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        target = task.encode(labels, spacing)
        return target.values, target.weight

    return encode
