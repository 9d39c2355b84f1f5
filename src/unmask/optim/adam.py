"""Adam's step, which other optimizers scale or take for some of their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def adam_step(
    state: dict[str, Any], gradient: Tensor, group: dict[str, Any], good: Tensor | None = None
) -> Tensor:
    """Adam's step of size 1 (Kingma and Ba 2015, arXiv:1412.6980), in a new tensor.

    Both moments are corrected for their start at 0.

    Args:
        state: of the parameter; filled by the first step.
        gradient: of the parameter.
        group: has ``betas`` and ``eps``.
        good: a number on the device: 1, or 0 for a step that changes nothing (see `clean`). None:
            the step is known to be good.
    """
    if not state:
        # The count stays on the CPU, where reading it waits for nothing.
        state["step"] = torch.zeros(())
        state["exp_avg"] = torch.zeros_like(gradient)
        state["exp_avg_sq"] = torch.zeros_like(gradient)
    beta1, beta2 = group["betas"]
    state["step"] += 1
    count = state["step"].item()
    if good is None:
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    else:
        # The count is one too high after a skipped step: it is on the host, which does not know.
        state["exp_avg"].lerp_(gradient, (1 - beta1) * good)
        state["exp_avg_sq"].lerp_(gradient.square(), (1 - beta2) * good)
    root = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
    return (state["exp_avg"] / (1 - beta1**count)).div_(root)


def good_of(optimizer: Any) -> Tensor | None:
    """1 for a good step and 0 for a bad one, on the device; None: the host knows it is good.

    The training loop and PyTorch's scaler set ``found_inf`` before a step.
    """
    found = getattr(optimizer, "found_inf", None)
    return None if found is None else (found == 0).float()


def clean(gradient: Tensor, good: Tensor | None) -> Tensor:
    """The gradient; zeros for a bad step, because 0 times NaN is NaN."""
    return gradient if good is None else torch.where(good > 0, gradient, 0.0)
