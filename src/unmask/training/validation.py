"""Scores of the objective on data that was held out, and the best of them so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import distributed

from unmask.space.batch import Batch
from unmask.training.journal import PICTURES
from unmask.training.meter import Meter
from unmask.training.plan import Summary
from unmask.training.setup import Setup


@dataclass(frozen=True)
class Validated:
    """Result of a validation.

    Attributes:
        scores: scores by name of the metric; the first one chooses the best model.
        pictures: ``(y, x, 3)`` uint8 pictures by name, which the journal stores.
    """

    scores: Mapping[str, float]
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


Validate = Callable[[Any], Mapping[str, float] | Validated]


@runtime_checkable
class DividedValidate(Protocol):
    """A validation that several processes divide among them."""

    def measure(self, network: Any, first: int, step: int) -> list[tuple[int, Any]]:
        """Number and result of every ``step``-th image from ``first`` on."""
        ...

    def summarize(self, network: Any, results: Sequence[Any]) -> Validated:
        """The scores, from the results of all images in their order."""
        ...


SaveBest = Callable[[int, Mapping[str, float]], None]


class Validation:
    """Validates when it is due; the first metric chooses the best model, higher is better.

    Attributes:
        metrics: scores of the last validation.
        best: best score of the run; None before the first one.
        best_step: its step; without validation that of the last saved model.
    """

    def __init__(self, setup: Setup, validate: Validate | None) -> None:
        self.metrics: dict[str, float] = {}
        self.best: float | None = None
        self.best_step = 0
        self._setup, self._measure = setup, validate

    def check_start(self, step: int, meter: Meter, save: SaveBest) -> None:
        """Validate the initial weights of a run that asks for it, with a line in the journal."""
        setup = self._setup
        if step > 0 or not (setup.plan.validate_first and setup.plan.validate_every):
            return
        scores = self._validate(step, meter, save)
        if scores:
            named = {f"validation/{name}": value for name, value in scores.items()}
            setup.journal.log({"step": step, **named})

    def check(self, step: int, meter: Meter, save: SaveBest) -> Mapping[str, float]:
        """Validate and draw pictures if it is due; ``save`` is called with a new best model.

        It sees averaged weights, if there are any. Several processes divide the images, so that
        none waits for another longer than a share of the validation takes.

        Returns:
            New scores; empty if none are due, and in all processes but the first.
        """
        if not self._setup.plan.is_due(step, self._setup.plan.validate_every):
            return {}
        return self._validate(step, meter, save)

    def _validate(self, step: int, meter: Meter, save: SaveBest) -> Mapping[str, float]:
        setup = self._setup
        scores: Mapping[str, float] = {}
        setup.guard.settle()
        first = setup.fabric.is_global_zero
        with meter.paused(), setup.averaged_weights():
            share_statistics(setup)
            setup.objective.eval()
            with torch.no_grad():
                found = self._find()
                if first:
                    scores = self._keep(step, found)
                    self._draw(step, meter.batch)
            setup.objective.train()
            if first and self._is_best(scores):
                self.best, self.best_step = float(next(iter(scores.values()))), step
                save(step, scores)
        setup.fabric.barrier()
        return scores

    def summarize(self, step: int, loss: float, *, seconds: float) -> Summary:
        """The result of the training."""
        return Summary(step, loss, self.best, self.best_step, self.metrics, seconds)

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps."""
        return {"best": self.best, "best_step": self.best_step, "metrics": self.metrics}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a snapshot."""
        self.best, self.best_step = state["best"], state["best_step"]
        self.metrics = state["metrics"]

    def _find(self) -> Validated | None:
        """New scores in the first process; None in others, or without validation."""
        fabric, validate = self._setup.fabric, self._measure
        if validate is None:
            return None
        network = self._setup.objective.finished
        if fabric.world_size > 1 and isinstance(validate, DividedValidate):
            own = validate.measure(network, fabric.global_rank, fabric.world_size)
            parts: list[Any] = [None] * fabric.world_size
            distributed.all_gather_object(parts, own)
            if not fabric.is_global_zero:
                return None
            ordered = sorted((pair for part in parts for pair in part), key=lambda pair: pair[0])
            return validate.summarize(network, [result for _, result in ordered])
        if not fabric.is_global_zero:
            return None
        found = validate(network)
        return found if isinstance(found, Validated) else Validated(found)

    def _keep(self, step: int, found: Validated | None) -> Mapping[str, float]:
        """Note new scores and pictures."""
        if found is None:
            return {}
        for name, pixels in found.pictures.items():
            self._setup.journal.keep_picture(step, name, pixels)
        self.metrics = dict(found.scores)
        return self.metrics

    def _is_best(self, scores: Mapping[str, float]) -> bool:
        score = next(iter(scores.values()), math.nan)
        return math.isfinite(score) and (self.best is None or score > self.best)

    def _draw(self, step: int, last: Batch | None) -> None:
        """Keep pictures of some samples of the last batch, if the objective draws any."""
        if last is None:
            return
        with self._setup.fabric.autocast():
            first = Batch(last.image[:PICTURES], seed=last.seed)
            pictures = self._setup.objective.reconstruct(first)
        if pictures:
            self._setup.journal.picture(step, "reconstruction", *pictures.values())


def share_statistics(setup: Setup) -> None:
    """Give all processes the buffers of the first one, as the next forward pass would.

    Running statistics follow the crops of each process, and all of them measure one network.
    """
    if setup.fabric.world_size > 1:
        for buffer in setup.objective.buffers():
            distributed.broadcast(buffer, 0)
