"""The initial weights that a label curve compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from unmask import checkpoint
from unmask.apps.curve_runs import Pretraining
from unmask.apps.curve_table import SCRATCH
from unmask.build import new_segmenter
from unmask.errors import CheckpointError, message
from unmask.plugins import is_file_name
from unmask.recipe import Part, Recipe
from unmask.starts.choose import AUTO, shipped_start
from unmask.training.provenance import initialize


@dataclass(frozen=True)
class Start:
    """Initial weights, and the random weights of the same network to compare them with.

    Attributes:
        name: in the table.
        recipe: of its trainings.
        against: name of the start with random weights; its own name for random weights.
        init: model; None for random weights.
    """

    name: str
    recipe: Recipe
    against: str
    init: Path | None = None

    def with_steps(self, steps: int) -> Start:
        """The same start with another number of updates."""
        return replace(self, recipe=with_steps(self.recipe, steps))


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe with another number of updates."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})


def shipped_starts(recipe: Recipe) -> dict[str, str]:
    """The shipped weights that a training with this recipe starts from; empty if none fit."""
    start = shipped_start(AUTO, recipe)
    if start is None:
        return {}
    try:
        initialize(new_segmenter(recipe), start.name, recipe)
    except CheckpointError:
        return {}
    return {start.name: start.name}


def find_starts(recipe: Recipe, models: Mapping[str, Path | Pretraining]) -> list[Start]:
    """List random weights and all models, each after the random weights of its own network."""
    found = [Start(SCRATCH, recipe, against=SCRATCH)]
    for name, model in models.items():
        init = model.folder if isinstance(model, Pretraining) else model
        its = recipe
        backbone = _backbone(model)
        if backbone.name != recipe.model.backbone.name:
            _refuse_code(backbone, model)
            # A decoder that was chosen for another backbone may not fit.
            update = {"backbone": backbone, "decoder": None}
            its = recipe.model_copy(update={"model": recipe.model.model_copy(update=update)})
        fresh = [each.name for each in found if each.init is None]
        same = [each.name for each in found if each.init is None and each.recipe == its]
        if not same:
            number = sum(each.startswith(f"{SCRATCH}-{backbone.name}") for each in fresh)
            same = [f"{SCRATCH}-{backbone.name}{f'-{number + 1}' if number else ''}"]
            found.append(Start(same[0], its, against=same[0]))
        found.append(Start(name, its, against=same[0], init=init))
    return found


def _backbone(model: Path | Pretraining) -> Part:
    if isinstance(model, Pretraining):
        return model.recipe.model.backbone
    card = checkpoint.load_model(model).card
    return checkpoint.described_recipe(card, model).model.backbone


def _refuse_code(backbone: Part, model: Path | Pretraining) -> None:
    """Refuse a backbone from a file that only a model names: a model file runs no code."""
    if not isinstance(model, Pretraining) and is_file_name(backbone.name):
        raise CheckpointError(
            message(
                model,
                expected="a backbone that comes with unmask, or that of the recipe",
                found=f"model.backbone={backbone.name}, whose code was not run",
                do="If you trust it, name it yourself: --set model.backbone=FILE.py:NAME.",
            )
        )
