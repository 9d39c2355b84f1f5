"""Everything that a training needs of a recipe, built once, with all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from unmask.build.networks import build_backbone, build_method, build_segmenter, build_task
from unmask.build.optimizer import build_optimizer
from unmask.build.pipeline import Pipeline, build_pipeline, build_sampling
from unmask.data.sampling import Modalities
from unmask.errors import RecipeError, UnmaskError, gather, message
from unmask.io import use_formats
from unmask.metrics import METRICS, find_metric
from unmask.models.base import Objective
from unmask.recipe import Recipe, load
from unmask.space.random import device_seed
from unmask.tasks.base import CompleteTask
from unmask.tasks.segmenter import Segmenter

if TYPE_CHECKING:
    from unmask.semisupervised.base import SemiSupervised

Network = TypeVar("Network", bound=Objective)


@dataclass(frozen=True)
class Assembly(Generic[Network]):
    """The parts of a training.

    Attributes:
        recipe: what they are built from.
        objective: the network with fresh weights; parts in ``train.freeze`` do not learn.
        task: of a segmenter; None in pre-training.
        optimizer: of the objective's parameters.
        pipeline: from files to batches.
        sampling: how images of rare kinds are drawn more often, if at all.
    """

    recipe: Recipe
    objective: Network
    task: CompleteTask | None
    optimizer: Optimizer
    pipeline: Pipeline
    sampling: Modalities | None


def resolve_recipe(source: str | Path | Recipe, settings: Iterable[str]) -> Recipe:
    """A recipe by name, file or value, with settings.

    Raises:
        RecipeError: everything that is wrong with its fields, with the settings, and with the parts
            that can be built nevertheless.
    """
    problems: list[str] = []
    recipe: Recipe | None = None
    try:
        recipe = load(source)
    except RecipeError as error:
        problems, recipe = list(error.problems), error.repaired
    if recipe is not None:
        try:
            recipe = recipe.with_settings(settings)
        except RecipeError as error:
            problems, recipe = [*problems, *error.problems], error.repaired
    if recipe is not None and not problems:
        use_formats(recipe.data.formats)
        return recipe
    if recipe is not None:
        problems += _try(recipe, _segmenter if recipe.method is None else _method)[1]
    raise _refusal(problems)


def assemble_segmenter(recipe: Recipe) -> Assembly[Any]:
    """The parts of a fine-tuning; weights are a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe.
    """
    return _assemble(recipe, _segmenter)


def assemble_method(recipe: Recipe) -> Assembly[Objective]:
    """The parts of a pre-training; weights are a pure function of the recipe and its seed.

    Raises:
        RecipeError: everything that is wrong with any part of the recipe; or it fine-tunes.
    """
    return _assemble(recipe, _method)


def new_segmenter(recipe: Recipe) -> Segmenter:
    """The segmenter of `assemble_segmenter`."""
    return assemble_segmenter(recipe).objective.finished


def new_method(recipe: Recipe) -> Objective:
    """The pre-training method of `assemble_method`."""
    return assemble_method(recipe).objective


def _segmenter(recipe: Recipe, task: CompleteTask | None) -> Segmenter | SemiSupervised:
    segmenter = build_segmenter(recipe, task)
    if recipe.train.unlabeled is None:
        return segmenter
    # Only trainings with unlabeled images need pre-training code.
    from unmask.build.semisupervised import build_semisupervised

    return build_semisupervised(recipe, segmenter)


def _method(recipe: Recipe, task: CompleteTask | None) -> Objective:  # noqa: ARG001 - as above
    return build_method(recipe)


Build = Callable[[Recipe, CompleteTask | None], Network]


def _assemble(recipe: Recipe, build: Build[Network]) -> Assembly[Network]:
    assembly, problems = _try(recipe, build)
    if problems or assembly is None:
        raise _refusal(problems)
    return assembly


@dataclass(frozen=True)
class _Attempts:
    """Calls whose errors are kept, so that all of them can be reported at once."""

    problems: list[str] = field(default_factory=list)

    def __call__(self, action: Callable[[], Any]) -> Any:
        """What the action returns; None if it fails."""
        try:
            return action()
        except UnmaskError as error:
            self.problems.append(str(error))
            return None


def _try(recipe: Recipe, build: Build[Network]) -> tuple[Assembly[Network] | None, list[str]]:
    """The parts, if all can be built, and what is wrong with each of them."""
    attempt = _Attempts(_wrong_sizes(recipe))
    with torch.random.fork_rng(devices=[]):
        pipeline = build_pipeline(recipe, attempt)
        sampling = attempt(lambda: build_sampling(recipe))
        task = None if recipe.task is None else attempt(lambda: build_task(recipe))
        for name in recipe.train.metrics:
            attempt(partial(find_metric, name, METRICS))
        attempt(lambda: _check_first_metric(recipe.train.metrics[:1]))
        torch.manual_seed(device_seed(recipe.train.seed, "weights"))
        network = attempt(lambda: _freeze(recipe, build(recipe, task)))
        if network is None:
            attempt(lambda: build_backbone(recipe))
            # The optimizer's own options are checked with a layer in place of the network.
            plain = recipe.train.model_copy(update={"layer_decay": 1.0})
            instead = recipe.model_copy(update={"train": plain})
            attempt(lambda: build_optimizer(instead, nn.Linear(1, 1)))
            return None, attempt.problems
        attempt.problems.extend(_empty_layers(network))
        optimizer = attempt(lambda: build_optimizer(recipe, network))
    return Assembly(recipe, network, task, optimizer, pipeline, sampling), attempt.problems


def _check_first_metric(names: Sequence[str]) -> None:
    """Refuse a metric that cannot choose the best model."""
    for name in names:
        if find_metric(name, METRICS).higher_is_better is not True:
            raise RecipeError(
                message(
                    f"train.metrics={name}",
                    expected="a first metric of which higher values are better",
                    found="another one",
                    do="Name another metric first: the first one chooses the best model.",
                )
            )


def _freeze(recipe: Recipe, network: Network) -> Network:
    """The network; the parts in ``train.freeze`` do not learn."""
    parts = {name for name, _ in network.named_modules() if name}
    unknown = [name for name in recipe.train.freeze if name not in parts]
    if unknown:
        near = difflib.get_close_matches(unknown[0], parts, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"train.freeze={list(recipe.train.freeze)}: expected parts of the network such as "
            f"backbone, found {unknown[0]!r}. {hint}Change the recipe or --set it."
        )
    network.freeze(recipe.train.freeze)
    if recipe.train.freeze_statistics:
        network.keep_statistics()
    return network


def _wrong_sizes(recipe: Recipe) -> list[str]:
    part = recipe.data
    sizes = {"data.crop": part.crop, "infer.tile": recipe.infer.tile or part.crop}
    return [
        f"{name}={list(size)}: expected lengths of 1 or more. Change the recipe or --set it."
        for name, size in sizes.items()
        if min(size, default=0) < 1
    ]


def _empty_layers(network: nn.Module) -> list[str]:
    """Layers without channels, which PyTorch builds and which learn nothing."""
    return [
        f"model: expected weights in every layer, found none in {name}. Choose positive widths "
        "and depths."
        for name, values in network.named_parameters()
        if values.numel() == 0
    ][:1]


def _refusal(problems: Sequence[str]) -> RecipeError:
    """All problems as one error."""
    found = list(dict.fromkeys(problems))
    one = len(found) == 1
    return RecipeError(found[0] if one else gather(found, heading=f"{len(found)} problems found:"))
