"""The one training loop, for pre-training and fine-tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Optimizer

from unmask import interruption
from unmask.errors import Interrupted
from unmask.models.base import Objective
from unmask.space.batch import Batch
from unmask.training.checkpointing import Checkpointing, open_run
from unmask.training.forward import Forward, Parcel
from unmask.training.guard import Stop
from unmask.training.journal import Journal
from unmask.training.meter import Meter
from unmask.training.plan import Plan, Summary
from unmask.training.saving import RunFolder
from unmask.training.setup import Setup, make_setup, prepare_for_device
from unmask.training.update import (
    agree,
    apply_update,
    clip,
    close_at_end,
    seed_forward,
    set_rates,
    take_batch,
)
from unmask.training.validation import Validate, Validation


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
        validate: scores of the objective in evaluation mode; the first one chooses the best model,
            higher is better. Called with averaged weights where there are some.
        run: where to keep snapshots and the best model; None keeps nothing.

    Raises:
        TrainingError: the loss stays NaN, memory is short, or the batches end too early.
        Interrupted: a signal came; the run is saved, if it has a folder.
        CheckpointError: the run folder holds another run, or only damaged snapshots.
        SaveError: the disk is full; the last whole snapshot stays.
    """
    began = time.monotonic()
    snapshot = open_run(run, objective, journal.say if fabric.is_global_zero else _ignore)
    prepare_for_device(objective, optimizer, fabric.device)
    model, stepper = fabric.setup(Forward(objective), optimizer)
    setup = make_setup(objective, fabric=fabric, optimizer=optimizer, plan=plan, journal=journal)
    meter, validation = Meter(setup), Validation(setup, validate)
    files = Checkpointing(setup, validation, run)
    step = files.restore(snapshot)
    stream = iter(batches(step * plan.accumulate))
    if fabric.world_size == 1:
        # A signal whose exception a callback has lost; several processes agree after their step.
        interruption.check()
    with Stop() as stop, files.active(), meter.explain_memory(), close_at_end(stream):
        validation.check_start(step, meter, files.save_model)
        while step < plan.steps:
            rate = set_rates(optimizer, plan, step)
            norm = _compute_gradients(model, stepper, stream, setup, meter, step)
            apply_update(setup, stepper, meter.take_bad(norm))
            step += 1
            code = agree(stop.code, fabric, step=step, steps=plan.steps)
            scores = validation.check(step, meter, files.save_model)
            meter.report(step, rate, norm, scores, now=code > 0)
            files.save(step, now=code > 0)
            if code:
                raise Interrupted(step, code, saved=run is not None)
    return validation.summarize(step, meter.loss, seconds=time.monotonic() - began)


def _compute_gradients(
    model: Any,
    stepper: Any,
    stream: Iterator[Batch],
    setup: Setup,
    meter: Meter,
    step: int,
) -> Tensor:
    """Gradients of one update, summed over its micro-batches and clipped; their norm before."""
    fabric, plan = setup.fabric, setup.plan
    stepper.zero_grad(set_to_none=True)
    setup.guard.before()
    for micro in range(plan.accumulate):
        batch = take_batch(stream, plan, step)
        meter.shape = tuple(batch.image.shape)
        parcel = Parcel(batch.to(fabric.device))
        seed_forward(plan, step, micro, fabric.global_rank)
        # DDP waits for the other processes in the last micro-batch only.
        with fabric.no_backward_sync(model, enabled=micro < plan.accumulate - 1):
            fabric.backward(model(parcel) / plan.accumulate)
        meter.add(parcel)
    return clip(model, stepper, setup=setup)


def _ignore(text: str) -> None:
    """Say nothing: another process does."""
