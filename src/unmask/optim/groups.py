"""Groups of parameters that share a weight decay and a learning rate."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from unmask.errors import RecipeError

# Numbered parts of a backbone, fine to coarse: blocks of transformers, else stages of others.
_BLOCKS = tuple(re.compile(rf"(?:^|\.){name}\.(\d+)\.") for name in ("blocks", "stages"))


def parameter_groups(
    module: nn.Module, *, lr: float, weight_decay: float, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """Groups of trainable parameters by weight decay and depth.

    Vectors and scalars (norms, biases), tokens and positions are not decayed. With ``layer_decay``
    below 1 a backbone's parameters learn slower the deeper they lie, as in BEiT (Bao et al. 2022,
    arXiv:2106.08254): the factor is ``layer_decay ** (blocks + 1 - layer)``, with the embedding as
    layer 0, block N as layer N + 1, and everything after the blocks at the full rate. Convolutional
    backbones have stages, one per resolution, in place of blocks.

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
    blocks = next(filter(None, (_numbers(inside, pattern) for pattern in _BLOCKS)), {})
    if not blocks:
        raise RecipeError(
            f"train.layer_decay={decay}: expected a backbone with blocks.N, as transformers "
            "(vit) have, or stages.N, as convolutional ones (resunet) have, found none such. Set "
            "train.layer_decay=1."
        )
    deepest = max(blocks.values())
    before = {name for name in inside if name not in blocks and _is_embedding(name)}
    layers = dict.fromkeys(before, 0) | {name: n + 1 for name, n in blocks.items()}
    return {name: decay ** (deepest + 2 - layers.get(name, deepest + 2)) for name in names}


def _numbers(names: list[str], pattern: re.Pattern[str]) -> dict[str, int]:
    """Number of the block of each parameter that lies in one."""
    return {name: int(match[1]) for name in names if (match := pattern.search(name))}


def _is_embedding(name: str) -> bool:
    return any("embed" in part or "token" in part or part == "stem" for part in name.split("."))
