"""Summary that a training prints before its first update: facts and a forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch

from unmask.api.forecasting import describe_updates, extrapolate, forecast
from unmask.api.validation import HeldOut
from unmask.data.pairs import Audit, Pair
from unmask.models.base import Objective
from unmask.recipe import Recipe
from unmask.training.allocator import keep_freed_memory
from unmask.training.parallel import count_processes, device_type
from unmask.training.precision import Measured, keep_precision, measure_precision
from unmask.training.threads import (
    describe_threads,
    keep_threads,
    kept_threads,
    measure_threads,
    use_threads,
)

# Largest number of held-out images that are named.
_NAMED = 3
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
    """Resolve ``train.precision=auto`` and ``train.threads=auto``; a resumed run keeps both.

    Args:
        recipe: recipe of the run.
        pairs: images on the grid of the network.
        out: the run folder.
        devices: requested number of processes.
        resume: whether the run in ``out`` is resumed.
    """
    if resume:
        recipe = keep_threads(keep_precision(recipe, out), out)
    kept = kept_threads(out) if resume else None
    if prod(count_processes(devices)) > 1:
        # Measured times differ between processes, so they could choose different precisions.
        return Measured(recipe, {}, fastest=kept)
    device = device_type("auto")
    if device != "cpu":
        return measure_precision(pairs, recipe, device)
    keep_freed_memory()
    with use_threads(kept or recipe.train.threads):
        measured = measure_precision(pairs, recipe, device)
    if resume:
        return replace(measured, fastest=kept)
    return measure_threads(pairs, measured)


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
        pairs: training images; with folds those of all folds.
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
        "Network": _network(recipe, sum(weight.numel() for weight in objective.parameters())),
        "Device": f"{_device(device, measured)}, {measured.describe()}",
        "Forecast": _forecast(measured, objective, pairs if folds else held_out, folds),
    }
    return Briefing(facts, measured)


def forecast_lines(audit: Audit, recipe: Recipe) -> Iterator[str]:
    """Measure a few updates; lines on network, device, time and memory of a training.

    Args:
        audit: files of the training; gets the numbers of the forecast.
        recipe: recipe of the training.
    """
    measured, made = forecast(audit.pairs, recipe)
    numbers = {"updates": made.updates, "seconds": made.seconds, "busy": made.busy}
    audit.forecast.update(numbers | {"memory": made.memory})
    facts = {"Forecast": made.describe(describe_updates(recipe, made.updates))}
    if (timing := measured.timing) is not None:
        with use_threads(measured.used_threads):
            device = _device(timing.device, measured)
        facts = {
            "Network": _network(recipe, timing.parameters),
            "Device": f"{device}, {measured.describe()}",
            **facts,
        }
    yield from Briefing(facts, measured).lines()


def _images(pairs: Sequence[Pair], held_out: Sequence[Pair], recipe: Recipe, folds: int) -> str:
    if folds:
        return f"{len(pairs):,}, each is held out once, in {folds} folds"
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


def _network(recipe: Recipe, count: int) -> str:
    shown = f"{count / 1e6:.1f} million" if count > 1e5 else f"{count:,}"
    purpose = recipe.task or recipe.method
    name = "" if purpose is None else f", {purpose.name}"
    return f"{recipe.model.backbone.name}, {shown} parameters{name}"


def _device(device: torch.device, measured: Measured) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU, {describe_threads(torch.get_num_threads(), measured.threads)}"
    return device.type


def _forecast(measured: Measured, objective: Objective, scored: Sequence[Pair], folds: int) -> str:
    made = extrapolate(measured, objective.finished, scored, folds=folds)
    return made.describe(describe_updates(measured.recipe, made.updates))
