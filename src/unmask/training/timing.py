"""What one update of a recipe costs on this device, measured on a few real ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from unmask.build import assemble_method, assemble_segmenter, build_crops, layout
from unmask.data.pairs import Pair, apply_view
from unmask.data.tables import ImageClass
from unmask.memory import peak_memory
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
        update: seconds per update, batches and backward pass included.
        parameters: weights of the network.
        peak: largest memory of the process so far, or of the GPU, in bytes; None if unknown.
        device: where it was measured.
    """

    update: float
    parameters: int
    peak: int | None
    device: torch.device


def time_updates(pairs: Sequence[Pair], recipe: Recipe, *, updates: int = 3) -> Timing:
    """Run a few updates on the first images, without an optimizer, and take the fastest.

    Images without labels get labels of one value, which cost as much time.
    """
    assembly = assemble_segmenter(recipe) if recipe.task else assemble_method(recipe)
    objective, task = assembly.objective, assembly.task
    pairs = pairs[:_IMAGES]
    if task is not None:
        pairs = [_labeled(pair, task) for pair in pairs]
    pairs = apply_view(pairs, layout(recipe, task).view)
    crops = build_crops(recipe, pairs, task, pipeline=assembly.pipeline)
    fabric = make_fabric(1, recipe.train.precision)
    model = fabric.setup_module(Forward(objective))
    seconds = []
    for index in range(updates):
        begin = time.perf_counter()
        for part in range(recipe.train.accumulate):
            batch = crops.batch(index * recipe.train.accumulate + part).to(fabric.device)
            loss = model(Parcel(batch))
            # Nothing of a pixel classifier learns by updates.
            if loss.requires_grad:
                fabric.backward(loss)
        seconds.append(time.perf_counter() - begin)
    parameters = sum(p.numel() for p in objective.parameters())
    return Timing(min(seconds), parameters, _peak(fabric.device), fabric.device)


def _labeled(pair: Pair, task: CompleteTask) -> Pair:
    if pair.labels is not None:
        return pair
    value = 1 if task.image_classes else 0
    return replace(pair, labels=ImageClass("no labels", value).labels(pair.image))


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory()
