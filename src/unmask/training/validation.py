"""Scores of the objective on data that was held out, and the best of them so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

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
        self._setup, self._validate = setup, validate

    def check(self, step: int, meter: Meter, save: SaveBest) -> Mapping[str, float]:
        """Validate and draw pictures if it is due; ``save`` is called with a new best model.

        It sees averaged weights, if there are any.

        Returns:
            New scores; empty if none are due.
        """
        setup = self._setup
        scores: Mapping[str, float] = {}
        if not setup.plan.is_due(step, setup.plan.validate_every):
            return scores
        if setup.fabric.is_global_zero:
            with meter.paused(), setup.averaged_weights():
                setup.objective.eval()
                with torch.no_grad():
                    scores = self._scores(step)
                    self._draw(step, meter.batch)
                setup.objective.train()
                if self._is_best(scores):
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

    def _scores(self, step: int) -> Mapping[str, float]:
        """New scores; pictures of the validation are kept."""
        if self._validate is None:
            return {}
        found = self._validate(self._setup.objective.finished)
        if not isinstance(found, Validated):
            found = Validated(found)
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
