"""Adam's step, which other optimizers scale or take for some of their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def adam_step(state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Adam's step of size 1 (Kingma and Ba 2015, arXiv:1412.6980), in a new tensor.

    Both moments are corrected for their start at 0.

    Args:
        state: of the parameter; filled by the first step.
        gradient: of the parameter.
        group: has ``betas`` and ``eps``.
    """
    if not state:
        # The count stays on the CPU, where reading it waits for nothing.
        state["step"] = torch.zeros(())
        state["exp_avg"] = torch.zeros_like(gradient)
        state["exp_avg_sq"] = torch.zeros_like(gradient)
    beta1, beta2 = group["betas"]
    state["step"] += 1
    count = state["step"].item()
    state["exp_avg"].lerp_(gradient, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    root = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
    return (state["exp_avg"] / (1 - beta1**count)).div_(root)
