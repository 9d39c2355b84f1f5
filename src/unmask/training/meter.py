"""What forward passes gave since the last line of the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from unmask.space.batch import Batch
from unmask.training.forward import Parcel
from unmask.training.guard import TrainingError
from unmask.training.setup import Setup


class Meter:
    """Sums on the device, until a journal line takes their means.

    Attributes:
        shape: of the newest batch.
        batch: the newest batch.
        loss: mean of the last journal line; NaN before it.
    """

    def __init__(self, setup: Setup) -> None:
        self.shape: tuple[int, ...] = ()
        self.batch: Batch | None = None
        self.loss = math.nan
        self._setup = setup
        self._losses: list[Tensor] = []
        self._logs: dict[str, list[Tensor]] = {}
        self._bad: Tensor | None = None
        self._samples = 0
        self._since = time.monotonic()
        self._warning: str | None = None

    def add(self, parcel: Parcel) -> None:
        """Note one forward pass."""
        if parcel.step is None:
            raise TypeError("The strategy did not call the objective's forward.")
        self.batch = parcel.batch
        loss = parcel.step.loss.detach()
        bad = ~torch.isfinite(loss)
        self._bad = bad if self._bad is None else self._bad | bad
        self._losses.append(loss.float())
        for name, value in parcel.step.logs.items():
            self._logs.setdefault(name, []).append(value.detach().float())
        self._samples += parcel.batch.image.shape[0]

    def take_bad(self, norm: Tensor) -> Tensor:
        """1 if a loss since the last call, or the gradient norm, is not finite; otherwise 0."""
        bad = ~torch.isfinite(norm)
        bad = (bad if self._bad is None else bad | self._bad).float()
        self._bad = None
        return bad

    @contextmanager
    def paused(self) -> Generator[None, None, None]:
        """Time inside the ``with`` block does not count."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._since += time.monotonic() - began

    @contextmanager
    def explain_memory(self) -> Generator[None, None, None]:
        """Inside the ``with`` block, an error of short memory says what to change.

        Raises:
            TrainingError: the memory did not suffice.
        """
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"Expected memory for batches of shape {self.shape}, found too little "
                f"({str(error).splitlines()[0]}). Halve train.batch_size and double "
                "train.accumulate, which trains the same, or make data.crop smaller."
            ) from error

    def report(
        self, step: int, rate: float, norm: Tensor, scores: Mapping[str, float], *, now: bool
    ) -> None:
        """Write a journal line if one is due, if there are new scores, or ``now``.

        A line is due before a snapshot too, so that a resumed run loses no sums.

        Raises:
            TrainingError: too many updates in a row were not finite.
        """
        setup, plan = self._setup, self._setup.plan
        due = plan.is_due(step, plan.log_every) or plan.is_due(step, plan.save_every)
        if not (now or scores or due):
            setup.guard.check(step)
            if setup.fabric.is_global_zero:
                setup.journal.progress(step)
            return
        means = self._take()
        self.loss = means["loss"]
        means["samples_per_second"] *= setup.fabric.world_size
        record: dict[str, Any] = {"step": step, "lr": rate, "gradient_norm": norm, **means}
        record |= {f"validation/{name}": value for name, value in scores.items()}
        skipped = setup.guard.skipped()
        warning = setup.objective.health(means)
        if setup.fabric.is_global_zero:
            more = {"skipped": skipped or None, "warning": warning}
            setup.journal.log(record | {name: value for name, value in more.items() if value})
        if warning is not None and warning != self._warning:
            setup.say(f"step {step}: {warning}")
        self._warning = warning
        setup.guard.check(step, now=True)

    def _take(self) -> dict[str, float]:
        """Means since the last call; losses that are not finite are left out."""
        seconds = max(1e-9, time.monotonic() - self._since)
        record = {
            "loss": _mean(self._losses),
            "samples_per_second": round(self._samples / seconds, 3),
            **{name: _mean(values) for name, values in self._logs.items()},
        }
        self._losses, self._logs, self._samples = [], {}, 0
        self._since = time.monotonic()
        return record


def _mean(values: list[Tensor]) -> float:
    if not values:
        return math.nan
    stacked = torch.stack(values)
    return float(torch.where(torch.isfinite(stacked), stacked, torch.nan).nanmean())
