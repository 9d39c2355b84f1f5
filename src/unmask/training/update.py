"""The functions of one update, in the order in which the loop calls them."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from unmask.space.batch import Batch
from unmask.space.random import device_seed
from unmask.training.guard import TrainingError
from unmask.training.plan import Plan
from unmask.training.schedule import schedule
from unmask.training.setup import Setup

# Processes agree on stopping together; asking at every step would make them wait for each other.
_AGREE_EVERY = 8


def set_rates(optimizer: Optimizer, plan: Plan, step: int) -> float:
    """Give every group its learning rate and weight decay; the rate is returned unscaled."""
    rate = plan.lr * schedule(
        step,
        steps=plan.steps,
        warmup=plan.warmup,
        final=plan.final_lr,
        period=plan.cosine_steps,
    )
    decay = schedule(step, steps=plan.steps, warmup=0, final=plan.final_weight_decay)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
        if plan.final_weight_decay != 1:
            first = group.setdefault("first_decay", group["weight_decay"])
            group["weight_decay"] = first * decay
    return rate


@contextmanager
def close_at_end(stream: Iterator[Batch]) -> Generator[None]:
    """Close a generator of batches when the block ends, so that its threads end here.

    After an error the generator would live until a garbage collection, which may run in a thread
    that is about to start and holds the lock that ending another thread needs: a deadlock.
    """
    try:
        yield
    finally:
        if isinstance(stream, Generator):
            stream.close()


def take_batch(stream: Iterator[Batch], plan: Plan, step: int) -> Batch:
    """The next batch.

    Raises:
        TrainingError: there is none.
    """
    batch = next(stream, None)
    if batch is None:
        raise TrainingError(
            f"Step {step}: expected batches for {plan.steps} steps, found no more. "
            "Let the loader repeat its samples."
        )
    return batch


def seed_forward(plan: Plan, step: int, micro: int, rank: int) -> None:
    """Seed dropout and the like: a pure function of seed, micro-batch and process."""
    number = step * plan.accumulate + micro
    torch.manual_seed(device_seed(plan.seed, "step", number, rank))


def clip(model: nn.Module, stepper: Any, *, setup: Setup) -> Tensor:
    """Norm of the gradients before they are scaled down to the plan's; None only measures."""
    most = math.inf if setup.plan.clip is None else setup.plan.clip
    if setup.scaler is not None:
        # Fabric refuses to clip for fused optimizers in float16; the scaler itself supports it.
        setup.scaler.unscale_(setup.optimizer)
        weights = [p for group in setup.optimizer.param_groups for p in group["params"]]
        return nn.utils.clip_grad_norm_(weights, most, error_if_nonfinite=False)
    norm = setup.fabric.clip_gradients(model, stepper, max_norm=most, error_if_nonfinite=False)
    if norm is None:
        raise TypeError("The strategy gave no gradient norm.")
    return norm


def apply_update(setup: Setup, stepper: Any, bad: Tensor) -> None:
    """Step the optimizer, unless ``bad`` is not 0 in any process."""
    if setup.fabric.world_size > 1:
        bad = find_largest(bad, setup.fabric)
    if setup.guard.step(stepper, bad):
        setup.objective.after_update()
        if setup.average is not None:
            setup.average.update()


def agree(code: int, fabric: Fabric, *, step: int, steps: int) -> int:
    """The exit code that any process was asked for; 0 continues."""
    if fabric.world_size == 1:
        return code
    if step % _AGREE_EVERY and step != steps:
        return 0
    asked = torch.tensor(float(code), device=fabric.device)
    return int(find_largest(asked, fabric).item())


def find_largest(value: Tensor, fabric: Fabric) -> Tensor:
    """The largest ``value`` of all processes."""
    return cast("Tensor", fabric.all_reduce(value, reduce_op="max"))
