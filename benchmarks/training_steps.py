"""CPU seconds and losses of the first steps of a training, by the real loop, without files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from unmask.build import assemble_segmenter, build_crops
from unmask.data.loader import batches
from unmask.data.pairs import Pair
from unmask.recipe import Recipe
from unmask.space.batch import Batch
from unmask.training import Journal, build_plan, fit, make_fabric
from unmask.training.allocator import keep_freed_memory


@dataclass(frozen=True)
class Steps:
    """What was measured.

    ``marks`` are CPU seconds of the process at the beginning of every step, ``once`` those that
    reading and measuring all images took.
    """

    network: Any
    marks: list[float]
    losses: list[float]
    once: float


class _Losses(Journal):
    """Keeps the loss of every step and writes nothing."""

    def __init__(self) -> None:
        super().__init__(None, steps=1, quiet=True)
        self.values: list[float] = []

    def log(self, record: Mapping[str, Any]) -> None:
        """One step."""
        self.values.append(float(record["loss"]))


def time_steps(recipe: Recipe, pairs: Sequence[Pair], steps: int) -> Steps:
    """Run ``steps`` updates of a recipe with fresh weights on images as the network sees them.

    Batches are made in the thread of the training, so that each step holds its own.
    """
    begin = time.process_time()
    recipe = recipe.with_settings([f"train.steps={steps}"])
    assembly = assemble_segmenter(recipe)
    crops = build_crops(recipe, pairs, assembly.task, pipeline=assembly.pipeline)
    marks, losses = list[float](), _Losses()

    def make(index: int) -> Batch:
        marks.append(time.process_time())
        return crops.batch(index)

    keep_freed_memory()
    fit(
        assembly.objective,
        partial(_batches, make),
        fabric=make_fabric(1, recipe.train.precision, accelerator="cpu"),
        optimizer=assembly.optimizer,
        plan=replace(build_plan(recipe), log_every=1),
        journal=losses,
    )
    return Steps(assembly.objective, marks, losses.values, marks[0] - begin)


def _batches(make: Callable[[int], Batch], start: int) -> Iterator[Batch]:
    return batches(make, start, workers=0)
