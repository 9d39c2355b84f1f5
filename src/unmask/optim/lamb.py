"""LAMB (You et al. 2020, arXiv:1904.00962): Adam whose steps have the size of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from unmask.optim.adam import adam_step, clean, good_of


class Lamb(Optimizer):
    """Large-batch optimizer.

    Gradients are first scaled down to the norm ``max_norm`` over all parameters. Groups without
    weight decay take plain Adam steps, as in the published trainings.

    Args:
        groups: parameters or groups of them.
        lr: learning rate.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        weight_decay: share of the weights added to a step before its size is set.
        max_norm: largest norm of all gradients together; None leaves them.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_norm: float | None = 1.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(groups, defaults)
        self.max_norm = max_norm
        # PyTorch's name for optimizers that take ``found_inf``.
        self._step_supports_amp_scaling = True

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; PyTorch's ``closure`` is refused."""
        if closure is not None:
            raise TypeError("Lamb takes no closure: compute the gradients before step().")
        shrink, good = self._shrink(), good_of(self)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    gradient = clean(parameter.grad * shrink, good)
                    move = adam_step(self.state[parameter], gradient, group, good)
                    if group["weight_decay"]:
                        move.add_(parameter, alpha=group["weight_decay"])
                        move.mul_(_trust(parameter, move))
                    move = move if good is None else move * good
                    parameter.add_(move, alpha=-group["lr"])

    def _shrink(self) -> Tensor | float:
        gradients = [
            p.grad for group in self.param_groups for p in group["params"] if p.grad is not None
        ]
        if self.max_norm is None or not gradients:
            return 1.0
        return (self.max_norm / torch.nn.utils.get_total_norm(gradients)).clamp(max=1.0)


def _trust(weight: Tensor, move: Tensor) -> Tensor:
    """Norm of the weights over norm of the move; 1 where either is 0."""
    size, step = weight.norm(), move.norm()
    return torch.where((size > 0) & (step > 0), size / step, 1.0)
