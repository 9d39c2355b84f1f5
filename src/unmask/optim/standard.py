"""Constructors of optimizers with the defaults of their papers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from unmask.optim.lamb import Lamb


def adamw(
    groups: Iterable[dict[str, Any]],
    *,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.05,
) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), one kernel for all parameters."""
    return torch.optim.AdamW(
        groups, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay, fused=True
    )


def lamb(
    groups: Iterable[Any],
    *,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.9, 0.95),
    eps: float = 1e-6,
    weight_decay: float = 0.04,
    max_norm: float | None = 5.0,
) -> Optimizer:
    """LAMB with the settings of SparK (Tian et al. 2023, arXiv:2301.03580)."""
    return Lamb(
        groups,
        lr=lr,
        betas=(betas[0], betas[1]),
        eps=eps,
        weight_decay=weight_decay,
        max_norm=max_norm,
    )


def sgd(
    groups: Iterable[dict[str, Any]],
    *,
    lr: float = 1e-2,
    momentum: float = 0.9,
    weight_decay: float = 3e-5,
    nesterov: bool = True,
) -> Optimizer:
    """Stochastic gradient descent with momentum."""
    return torch.optim.SGD(
        groups, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )


def adam(
    groups: Iterable[dict[str, Any]],
    *,
    lr: float = 1e-3,
    betas: Sequence[float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); weight decay is a term of the gradient."""
    return torch.optim.Adam(
        groups,
        lr=lr,
        betas=(betas[0], betas[1]),
        eps=eps,
        weight_decay=weight_decay,
        amsgrad=amsgrad,
        fused=True,
    )
