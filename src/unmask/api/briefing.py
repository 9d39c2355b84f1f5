"""Summary that a training prints before its first update: facts and a forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch

from unmask.api.validation import HeldOut
from unmask.data.pairs import Pair
from unmask.models.base import Objective
from unmask.recipe import Recipe
from unmask.training.allocator import keep_freed_memory
from unmask.training.parallel import count_processes, device_type
from unmask.training.precision import Measured, keep_precision, measure_precision
from unmask.training.progress import duration

# Largest number of held-out images that are named.
_NAMED = 3
# Share of an update that is its forward pass; the backward pass takes about twice as long.
_FORWARD = 1 / 3
_WIDTH = 10


@dataclass(frozen=True)
class Briefing:
    """Facts about a training by title, and measured times of its updates."""

    facts: Mapping[str, str]
    measured: Measured

    def lines(self) -> Iterator[str]:
        """One line per fact."""
        for title, text in self.facts.items():
            yield f"{title:<{_WIDTH}}{text}"


def settle_precision(
    recipe: Recipe, pairs: Sequence[Pair], out: Path, *, devices: int, resume: bool
) -> Measured:
    """Resolve ``train.precision=auto``; a resumed run keeps its precision.

    Args:
        recipe: recipe of the run.
        pairs: images on the grid of the network.
        out: the run folder.
        devices: requested number of processes.
        resume: whether the run in ``out`` is resumed.
    """
    if resume:
        recipe = keep_precision(recipe, out)
    if prod(count_processes(devices)) > 1:
        # Measured times differ between processes, so they could choose different precisions.
        return Measured(recipe, {})
    device = device_type("auto")
    if device == "cpu":
        keep_freed_memory()
    return measure_precision(pairs, recipe, device)


def brief(
    measured: Measured,
    objective: Objective,
    pairs: Sequence[Pair],
    *,
    validate: object,
    card: Mapping[str, Any],
    device: torch.device,
    folds: int = 0,
) -> Briefing:
    """Summarize a training before it starts.

    Args:
        measured: recipe and measured times of its updates.
        objective: the network that is trained.
        pairs: training images.
        validate: `HeldOut` images for validation; anything else counts as none.
        card: card of the model, with the sizes of the objects.
        device: device of the training.
        folds: number of trainings of a cross-validation before the final one.
    """
    recipe = measured.recipe
    held_out = validate.pairs if isinstance(validate, HeldOut) else ()
    facts = {
        "Images": _images(pairs, held_out, recipe, folds),
        "Labels": _labels(recipe, card),
        "Network": _network(recipe, objective),
        "Device": f"{_device(device)}, {measured.describe()}",
        "Forecast": _forecast(measured, held_out, folds),
    }
    return Briefing(facts, measured)


def _images(pairs: Sequence[Pair], held_out: Sequence[Pair], recipe: Recipe, folds: int) -> str:
    if folds:
        whole = len(pairs) + len(held_out)
        return f"{whole:,}, each is held out once, in {folds} folds"
    if recipe.task is None:
        return f"{len(pairs):,}"
    if not held_out:
        return f"{len(pairs):,} for training; nothing is held out"
    names = ", ".join(pair.name for pair in held_out[:_NAMED])
    more = ", ..." if len(held_out) > _NAMED else ""
    return f"{len(pairs):,} for training; {len(held_out):,} held out ({names}{more})"


def _labels(recipe: Recipe, card: Mapping[str, Any]) -> str:
    if recipe.task is None:
        return "none are needed for pre-training"
    sizes = card.get("object_diameters")
    if not isinstance(sizes, Mapping):
        classes = recipe.task.choice.options.get("classes", "")
        return f"{classes if isinstance(classes, int) else ''} classes".strip()
    unit = "pixels" if recipe.data.ndim < 3 else "voxels"
    across = sizes["pixels"]
    return (
        f"{sizes['objects']:,} objects measured, {across['median']:.3g} {unit} in diameter (90 % "
        f"between {across['p5']:.3g} and {across['p95']:.3g})"
    )


def _network(recipe: Recipe, objective: Objective) -> str:
    count = sum(weight.numel() for weight in objective.parameters())
    shown = f"{count / 1e6:.1f} million" if count > 1e5 else f"{count:,}"
    purpose = recipe.task or recipe.method
    name = "" if purpose is None else f", {purpose.name}"
    return f"{recipe.model.backbone.name}, {shown} parameters{name}"


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} thread(s)"
    return device.type


def _forecast(measured: Measured, held_out: Sequence[Pair], folds: int) -> str:
    recipe, timing = measured.recipe, measured.timing
    updates = (folds + 1) * recipe.train.steps
    crop = " x ".join(map(str, recipe.data.crop))
    what = f"{updates:,} updates of {recipe.train.batch_size} crops {crop}"
    if timing is None:
        return f"none, for {what}"
    validation = _validations(recipe) * _voxels(held_out, recipe)
    voxels = recipe.train.batch_size * recipe.train.accumulate * prod(recipe.data.crop)
    seconds = timing.update * (updates + _FORWARD * validation / voxels)
    text = f"about {duration(seconds)} for {what}"
    text = text if timing.peak is None else f"{text}; {timing.peak / 1e9:.2g} GB of memory"
    return f"{text}. {timing.note}".rstrip(". ") if timing.note else text


def _validations(recipe: Recipe) -> int:
    train = recipe.train
    return 1 if train.validate_every == 0 else -(-train.steps // train.validate_every)


def _voxels(pairs: Sequence[Pair], recipe: Recipe) -> float:
    """Voxels that the network sees in one validation; overlapping tiles count twice."""
    few = min(1.0, recipe.train.validate_images / max(1, len(pairs)))
    tiles = (1 / (1 - recipe.infer.overlap)) ** recipe.data.ndim
    return few * tiles * sum(prod(pair.image.shape[1:]) for pair in pairs)
