"""What all parts of one call of `fit` share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from unmask.models import nd
from unmask.models.base import Objective
from unmask.training.average import Average
from unmask.training.guard import Guard
from unmask.training.journal import Journal
from unmask.training.plan import Plan


@dataclass(frozen=True)
class Setup:
    """The parts of one call of `fit`, on their device.

    Attributes:
        objective: what is trained.
        fabric: devices and precision.
        optimizer: the bare optimizer, not what Fabric wraps around it.
        plan: the values.
        journal: receives records.
        guard: skips updates that are not finite.
        average: averaged weights, if the plan asks for them.
    """

    objective: Objective
    fabric: Fabric
    optimizer: Optimizer
    plan: Plan
    journal: Journal
    guard: Guard
    average: Average | None = None

    @property
    def scaler(self) -> Any:
        """Scales the loss in float16; None in other precisions."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def say(self, text: str) -> None:
        """Print and keep a message, once for all processes."""
        if self.fabric.is_global_zero:
            self.journal.say(text)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Inside the ``with`` block the objective has the averaged weights, if there are any."""
        return nullcontext() if self.average is None else self.average.applied()


def make_setup(
    objective: Objective, *, fabric: Fabric, optimizer: Optimizer, plan: Plan, journal: Journal
) -> Setup:
    """The setup of an objective that is on its device already."""
    scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    guard = Guard(objective, optimizer, limit=plan.bad_steps, scaled=scaled)
    average = Average(objective, plan.ema) if plan.ema else None
    return Setup(objective, fabric, optimizer, plan, journal, guard, average)


def prepare_for_device(module: nn.Module, optimizer: Optimizer, device: torch.device) -> None:
    """Make a GPU fast; on the CPU nothing changes, so that results stay bit-equal.

    Kernels of convolutions are stored channels-last, as features are: cuDNN would
    rearrange them in every call. PyTorch's SGD becomes one kernel, which skips bad steps itself.
    """
    if device.type == "cpu":
        return
    for parameter in module.parameters():
        layout = nd.memory_format(parameter.ndim - 2)
        parameter.data = parameter.data.contiguous(memory_format=layout)
    if isinstance(optimizer, torch.optim.SGD) and device.type == "cuda":
        for group in optimizer.param_groups:
            group["fused"], group["foreach"] = True, False
        optimizer._step_supports_amp_scaling = True  # type: ignore[attr-defined]
