"""The optimizer of a recipe."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from unmask.errors import RecipeError
from unmask.lookup import build
from unmask.optim import OPTIMIZERS, parameter_groups
from unmask.recipe import Recipe


def build_optimizer(recipe: Recipe, objective: nn.Module) -> Optimizer:
    """The recipe's optimizer of the parameters that are trained.

    Raises:
        RecipeError: an unknown name, a wrong option, or nothing to train.
    """
    train = recipe.train
    decay = train.optimizer.choice.options.get("weight_decay", 0.05)
    if isinstance(decay, bool) or not isinstance(decay, int | float) or decay < 0:
        raise RecipeError(
            f"train.optimizer.weight_decay={decay!r}: expected a number of 0 or more. "
            "Correct the recipe."
        )
    groups = parameter_groups(
        objective, lr=train.lr, weight_decay=float(decay), layer_decay=train.layer_decay
    )
    return build(train.optimizer.choice, OPTIMIZERS, "train.optimizer", groups=groups, lr=train.lr)
