"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): no direction is preferred.

The momentum of a weight matrix is replaced by the nearest orthogonal matrix, so that rare
directions are learned as fast as common ones. Steps have the size of AdamW's in long trainings
(Liu et al. 2025, arXiv:2502.16982), so its rate and weight decay can be taken over; short trainings
take three times the rate. Convolutions count as matrices with a row for each output channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from unmask.optim.adam import adam_step, clean, good_of

# Newton-Schulz: five steps of this polynomial bring singular values between 0.7 and 1.2.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
# Root mean square of Adam's steps, in learning rates.
_RMS = 0.2
# Weights of fewer channels (stems, heads, depthwise convolutions) take Adam's steps.
_CHANNELS = 8


class Muon(Optimizer):
    """Orthogonal steps for weights that mix channels, Adam's for all others.

    Weight decay is apart from the gradient, as in AdamW.

    Args:
        groups: parameters or groups of them.
        lr: learning rate, as for AdamW.
        momentum: share of the last directions in a matrix's step.
        betas: decay of Adam's two moments.
        eps: added to the root of the second moment.
        weight_decay: share of the weights that is taken off, in learning rates.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.05,
    ) -> None:
        options = {"momentum": momentum, "betas": betas, "eps": eps}
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, **options})
        # PyTorch's name for optimizers that take ``found_inf``.
        self._step_supports_amp_scaling = True

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; PyTorch's ``closure`` is refused."""
        if closure is not None:
            raise TypeError("Muon takes no closure: compute the gradients before step().")
        good = good_of(self)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    step = mixing_step if mixes(parameter) else adam_step
                    gradient = clean(parameter.grad, good)
                    move = step(self.state[parameter], gradient, group, good)
                    decay = group["lr"] * group["weight_decay"]
                    parameter.mul_(1 - (decay if good is None else decay * good))
                    parameter.add_(move if good is None else move * good, alpha=-group["lr"])


def mixing_step(
    state: dict[str, Any], gradient: Tensor, group: dict[str, Any], good: Tensor | None = None
) -> Tensor:
    """The nearest orthogonal matrix of the momentum one update ahead (Nesterov).

    ``good`` is that of `adam_step`.
    """
    if not state:
        state["momentum_buffer"] = torch.zeros_like(gradient)
    share = 1 - group["momentum"]
    momentum = state["momentum_buffer"].lerp_(gradient, share if good is None else share * good)
    matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
    size = _RMS * max(matrix.shape) ** 0.5
    return (orthogonal(matrix) * size).to(gradient.dtype).reshape(gradient.shape)


def mixes(weight: Tensor) -> bool:
    """Whether a weight maps several channels to several others."""
    return weight.ndim >= 2 and min(weight.shape[:2]) >= _CHANNELS


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the nearest matrix whose singular values are 1, by Newton-Schulz in bfloat16."""
    tall = len(matrix) > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / x.norm().clamp(min=1e-7)).bfloat16()
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
