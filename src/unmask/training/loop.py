"""The one training loop, for pre-training and fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric
from torch.optim import Optimizer

from unmask.errors import Interrupted
from unmask.models.base import Objective
from unmask.space.batch import Batch
from unmask.training.guard import Stop
from unmask.training.journal import Journal
from unmask.training.plan import Plan, Summary
from unmask.training.progress import Forward, Parcel, Progress, Validate, agree, clip, explained
from unmask.training.saving import RunFolder


def fit(
    objective: Objective,
    batches: Callable[[int], Iterator[Batch]],
    *,
    fabric: Fabric,
    optimizer: Optimizer,
    plan: Plan,
    journal: Journal,
    validate: Validate | None = None,
    run: RunFolder | None = None,
) -> Summary:
    """Train ``objective``; afterwards it carries the weights of the last update.

    Args:
        objective: gives the loss of a batch.
        batches: micro-batches from a given number on (update x ``accumulate``), a pure function of
            that number, so that a resumed run sees the same samples.
        fabric: devices and precision.
        optimizer: over the parameters of ``objective``.
        plan: the values.
        journal: receives one record each ``log_every`` updates.
        validate: figures of the objective in evaluation mode; the first one chooses the best model,
            higher is better. Called with averaged weights where there are some.
        run: where to keep snapshots and the best model; None keeps nothing.

    Raises:
        TrainingError: the loss stays NaN, memory is short, or the batches end too early.
        Interrupted: a signal came; the run is saved.
        CheckpointError: the run folder holds another run, or only damaged snapshots.
        SaveError: the disk is full; the last whole snapshot stays.
    """
    progress = Progress(objective, fabric=fabric, optimizer=optimizer, plan=plan, journal=journal)
    snapshot = progress.open(run)
    model, stepper = fabric.setup(Forward(objective), optimizer)
    progress.begin(snapshot)
    stream = iter(batches(progress.step * plan.accumulate))
    with Stop() as stop, progress.kept(), explained(progress.meter):
        while progress.step < plan.steps:
            rate = progress.set_rate()
            stepper.zero_grad(set_to_none=True)
            progress.guard.before()
            for micro in range(plan.accumulate):
                parcel = Parcel(progress.take(stream))
                torch.manual_seed(progress.seed(micro))
                with fabric.no_backward_sync(model, enabled=micro < plan.accumulate - 1):
                    fabric.backward(model(parcel) / plan.accumulate)
                progress.meter.add(parcel)
            norm = clip(model, stepper, fabric=fabric, most=plan.clip)
            progress.update(stepper, norm)
            code = agree(stop.code, fabric, step=progress.step, steps=plan.steps)
            progress.check(validate)
            progress.tell(rate, norm, now=code > 0)
            progress.save(now=code > 0)
            if code:
                raise Interrupted(progress.step, code)
    return progress.summary()
