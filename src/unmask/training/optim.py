"""Optimisers, their parameter groups, the learning rate over time, and averaged weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from unmask.errors import RecipeError
from unmask.training.lamb import Lamb
from unmask.training.muon import Muon

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")


def schedule(
    step: int,
    *,
    steps: int,
    warmup: int,
    final: float = 0.0,
    start: float = 0.005,
    period: int | None = None,
) -> float:
    """Factor of the peak learning rate for update ``step``: linear warm-up, then half a cosine.

    Args:
        step: updates done before this one, from 0.
        steps: updates in all; the last one runs at ``final``.
        warmup: updates until the peak.
        final: last factor.
        start: first factor of the warm-up.
        period: updates from the peak to ``final``, after which the factor rises to the peak again;
            None: all that follow the warm-up.

    Examples:
        >>> [round(schedule(s, steps=5, warmup=2, start=0.0), 3) for s in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return start + (1 - start) * step / warmup
    if period is None:
        progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    else:
        progress = (step - warmup) / period
    return final + (1 - final) * (1 + cos(pi * progress)) / 2


def parameter_groups(
    module: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups of trainable parameters by weight decay and depth.

    Vectors and scalars (norms, biases), tokens and positions are not decayed. With ``layer_decay``
    below 1 a backbone's parameters learn slower the deeper they lie, as in BEiT (Bao et al. 2022,
    arXiv:2106.08254): the factor is ``layer_decay ** (blocks + 1 - layer)``, with the embedding as
    layer 0, block N as layer N + 1, and everything after the blocks at the full rate.

    Raises:
        RecipeError: ``layer_decay`` for a backbone without numbered blocks, or nothing to train.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    if not named:
        raise RecipeError(
            f"{type(module).__name__}: expected parameters to train, found none. Thaw the backbone."
        )
    scales = _scales([name for name, _ in named], layer_decay)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        decay = 0.0 if _is_exempt(name, parameter) else weight_decay
        scale = scales[name]
        group = groups.setdefault(
            (decay, scale),
            {"params": [], "weight_decay": decay, "scale": scale, "lr": lr * scale},
        )
        group["params"].append(parameter)
    return list(groups.values())


def _is_exempt(name: str, parameter: Tensor) -> bool:
    parts = name.split(".")
    return parameter.ndim <= 1 or any(
        "token" in part or part.startswith(("pos", "bias", "relative_position")) for part in parts
    )


def _scales(names: list[str], decay: float) -> dict[str, float]:
    if decay == 1:
        return dict.fromkeys(names, 1.0)
    inside = [name for name in names if "backbone" in name.split(".")] or names
    blocks = {name: int(match[1]) for name in inside if (match := _BLOCK.search(name))}
    if not blocks:
        raise RecipeError(
            f"train.layer_decay={decay}: expected a backbone with blocks.N, as transformers "
            "(vit) have, found none such. Set train.layer_decay=1."
        )
    deepest = max(blocks.values())
    before = {name for name in inside if name not in blocks and _is_embedding(name)}
    layers = dict.fromkeys(before, 0) | {name: n + 1 for name, n in blocks.items()}
    return {name: decay ** (deepest + 2 - layers.get(name, deepest + 2)) for name in names}


def _is_embedding(name: str) -> bool:
    return any("embed" in part or "token" in part or part == "stem" for part in name.split("."))


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


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "lamb": lamb,
    "muon": Muon,
    "sgd": sgd,
}


class Average:
    """Exponential moving average of a module's weights; buffers follow their last value.

    The decay starts low, ``(1 + updates) / (10 + updates)``, so that the first weights are soon
    forgotten.

    Args:
        module: the module that learns.
        decay: share of the average kept by an update.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.updates = 0
        self.weights = {name: tensor.detach().clone() for name, tensor in self._live().items()}

    def _live(self) -> dict[str, Tensor]:
        return {k: v for k, v in self.module.state_dict().items() if isinstance(v, Tensor)}

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = self._live()
        learned = {name for name, _ in self.module.named_parameters()}
        smooth = [name for name in live if name in learned and live[name].is_floating_point()]
        move = get_ema_multi_avg_fn(decay)
        move([self.weights[name] for name in smooth], [live[name] for name in smooth], None)
        for name in live.keys() - set(smooth):
            self.weights[name].copy_(live[name])

    @contextmanager
    def applied(self) -> Generator[None, None, None]:
        """The module carries the averaged weights inside the ``with`` block."""
        live = self._live()
        kept = {name: tensor.clone() for name, tensor in live.items()}
        _copy(self.weights, live)
        try:
            yield
        finally:
            _copy(kept, live)

    def restore(self, weights: dict[str, Tensor], updates: int) -> None:
        """Continue from saved averages."""
        _copy(weights, self.weights)
        self.updates = updates


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, tensor in target.items():
        tensor.copy_(source[name])
