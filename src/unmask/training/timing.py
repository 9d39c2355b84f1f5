"""What one update of a recipe costs on this device, measured on a few real ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from unmask.build import (
    Assembly,
    assemble_method,
    assemble_segmenter,
    build_crops,
    build_replay,
    build_task,
    layout,
)
from unmask.data.crops import Crops
from unmask.data.pairs import Pair, apply_view
from unmask.data.replay import Replay, WithUnlabeled
from unmask.data.tables import ImageClass
from unmask.memory import peak_memory
from unmask.processes import busy_factor, waiting_times
from unmask.recipe import Recipe
from unmask.tasks.base import CompleteTask
from unmask.training.forward import Forward, Parcel
from unmask.training.parallel import make_fabric

# Images whose crops are used.
_IMAGES = 4


@dataclass(frozen=True)
class Timing:
    """The cost of a recipe.

    Attributes:
        update: seconds per update on a machine that does nothing else, batches and backward pass
            included.
        parameters: weights of the network.
        peak: largest memory of the process so far, or of the GPU, in bytes; None if unknown.
        device: where it was measured.
        busy: how many times longer an update takes at present, because of other programs.
    """

    update: float
    parameters: int
    peak: int | None
    device: torch.device
    busy: float = 1.0

    @property
    def wall(self) -> float:
        """Seconds per update by the clock, with the other programs of this machine."""
        return self.update * self.busy


def time_updates(pairs: Sequence[Pair], recipe: Recipe, *, updates: int = 3) -> Timing:
    """Run a few updates on the first images with a network of its own, and take the fastest.

    Images without labels get labels of one value, which cost as much time.
    """
    return time_seen(label_pairs(pairs, recipe), recipe, updates=updates)


def label_pairs(pairs: Sequence[Pair], recipe: Recipe) -> list[Pair]:
    """The first images as the network sees them, all with labels."""
    task = build_task(recipe) if recipe.task else None
    pairs = pairs[:_IMAGES]
    if task is not None:
        pairs = [_labeled(pair, task) for pair in pairs]
    return apply_view(pairs, layout(recipe, task).view)


def time_seen(pairs: Sequence[Pair], recipe: Recipe, *, updates: int = 3) -> Timing:
    """As `time_updates`, for labeled images as the network sees them."""
    assembly = assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)
    return _time(assembly, pairs[:_IMAGES], updates)


def _time(assembly: Assembly[Any], pairs: Sequence[Pair], updates: int) -> Timing:
    recipe, objective = assembly.recipe, assembly.objective
    crops = _batches(assembly, pairs)
    fabric = make_fabric(1, recipe.train.precision)
    model, stepper = fabric.setup(Forward(objective), assembly.optimizer)
    seconds: list[tuple[float, float]] = []
    # The time of a forecast must not decide about the random numbers of the training.
    with torch.random.fork_rng(devices=[]):
        for index in range(updates):
            begin, waited = time.perf_counter(), waiting_times()
            stepper.zero_grad(set_to_none=True)
            for part in range(recipe.train.accumulate):
                batch = crops.batch(index * recipe.train.accumulate + part).to(fabric.device)
                loss = model(Parcel(batch))
                # A pixel classifier has no parameters that are trained by gradients.
                if loss.requires_grad:
                    fabric.backward(loss)
            stepper.step()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize(fabric.device)
            busy = busy_factor(waited)
            seconds.append(((time.perf_counter() - begin) / busy, busy))
    parameters = sum(p.numel() for p in objective.parameters())
    update, busy = min(seconds)
    return Timing(update, parameters, _peak(fabric.device), fabric.device, busy)


def _batches(assembly: Assembly[Any], pairs: Sequence[Pair]) -> Crops | Replay | WithUnlabeled:
    """Batches as large as those of the training, with the crops of other sources.

    The same images stand in for the other sources: crops of any image cost the network the same.
    """
    recipe, task, pipeline = assembly.recipe, assembly.task, assembly.pipeline
    crops = build_crops(recipe, pairs, task, pipeline=pipeline)
    if task is None:
        return crops
    first = crops
    if recipe.data.replay is not None:
        first = Replay(crops, build_replay(recipe, pairs, task, pipeline=pipeline))
    if recipe.train.unlabeled is None:
        return first
    # Other trainings need no teachers.
    from unmask.build.semisupervised import build_unlabeled_crops

    return WithUnlabeled(first, build_unlabeled_crops(recipe, pairs, pipeline=pipeline))


def _labeled(pair: Pair, task: CompleteTask) -> Pair:
    if pair.labels is not None:
        return pair
    value = 1 if task.image_classes else 0
    return replace(pair, labels=ImageClass("no labels", value).labels(pair.image))


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory()
