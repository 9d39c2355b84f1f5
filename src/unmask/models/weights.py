"""Weights of one network in another: by name, fitted to channels, axes and image size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from unmask.errors import CheckpointError
from unmask.models import positions


@dataclass(frozen=True)
class Loaded:
    """What ``load_matching`` did with every name.

    Attributes:
        loaded: taken over as they are.
        adapted: taken over after a change, with the change in words.
        missing: entries of the network that kept their own values.
        unexpected: entries of the file that found no place.
        share: numbers of the network that were taken over, as a share of all.
    """

    loaded: tuple[str, ...]
    adapted: Mapping[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    share: float


def load_matching(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    grid: Sequence[int] | None = None,
    least: float = 0.9,
) -> Loaded:
    """Fill a network from weights of the same names.

    A first convolution of another number of channels, convolutions of one axis less (arXiv:
    1705.07750, inflation) and position tables of another grid are fitted so that activations keep
    their size. The network is unchanged when an error is raised.

    Args:
        module: the network.
        weights: name to tensor.
        source: where the weights come from; for messages.
        grid: tokens along every axis of the image that the weights' position table was made for;
            default: of the proportions of the network's grid, or equal along all axes.
        least: share of the network's numbers that must be taken over.

    Raises:
        CheckpointError: less than ``least`` fits, or the grid of a position table is unknown.
    """
    state = module.state_dict()
    filled: dict[str, Tensor] = {}
    loaded, adapted = [], {}
    for name, mine in state.items():
        if name not in weights:
            continue
        theirs = weights[name]
        if theirs.shape == mine.shape:
            filled[name] = theirs
            loaded.append(name)
        elif name.endswith("pos_embed") and theirs.shape[2:] == mine.shape[2:]:
            axes = _axes(module, weights)
            filled[name], adapted[name] = _fit_positions(
                module, theirs, grid=grid, axes=axes, source=source
            )
        elif (fitted := _fit_kernel(module, theirs, mine)) is not None:
            filled[name] = fitted
            adapted[name] = f"{tuple(theirs.shape)} to {tuple(mine.shape)}"
    missing = tuple(name for name in state if name not in filled)
    unexpected = tuple(name for name in weights if name not in filled)
    covered = sum(state[name].numel() for name in filled)
    total = sum(value.numel() for value in state.values())
    # A part without weights, such as a mean, is covered by anything.
    share = covered / total if total else 1.0
    if share < least:
        raise CheckpointError(
            f"{source}: expected weights for at least {least:.0%} of {type(module).__name__}, "
            f"found {share:.0%}. {_differences(state, weights, missing, unexpected)}"
            "Give the same backbone options as in pre-training, or leave out --init."
        )
    with torch.no_grad():
        for name, value in filled.items():
            state[name].copy_(value)
    return Loaded(tuple(loaded), adapted, missing, unexpected, share)


def _fit_kernel(module: nn.Module, theirs: Tensor, mine: Tensor) -> Tensor | None:
    """A kernel ``(out, in, *window)`` made to fit, or None where that is not possible."""
    if min(theirs.ndim, mine.ndim) < 3 or theirs.shape[0] != mine.shape[0]:
        return None
    if mine.ndim == theirs.ndim + 1:
        # The same response to an image that is repeated along the new, slowest axis
        depth = mine.shape[2]
        theirs = theirs.unsqueeze(2).repeat_interleave(depth, dim=2) / depth
    first = mine.shape[1] == getattr(module, "in_channels", None)
    if first and theirs.shape[1] != mine.shape[1]:
        # The same response to an image whose channels are equal
        total = theirs.sum(dim=1, keepdim=True) / mine.shape[1]
        theirs = total.repeat_interleave(mine.shape[1], dim=1)
    return theirs if theirs.shape == mine.shape else None


def _axes(module: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Spatial axes of the network that ``weights`` come from."""
    if "patch_embed.proj.weight" in weights:
        return weights["patch_embed.proj.weight"].ndim - 2
    return len(getattr(module, "grid", ()))


def _fit_positions(
    module: nn.Module, theirs: Tensor, *, grid: Sequence[int] | None, axes: int, source: str
) -> tuple[Tensor, str]:
    """A position table on the network's grid, and the change in words."""
    target = tuple(getattr(module, "grid", ()))
    count = theirs.shape[1] - 1
    known = tuple(grid) if grid is not None else _likely_grid(count, target[-axes:])
    if known is None or prod(known) != count:
        raise CheckpointError(
            f"{source}: expected the grid of a position table of {count} tokens, found "
            f"{known or 'none that suits'}. Give grid, the tokens along every axis."
        )
    if len(known) != len(target):
        # A table of fewer axes holds for every place of the new, slowest ones
        flat = positions.to_grid(theirs, known, target[-len(known) :])
        places = flat[:, 1:].repeat(1, prod(target[: -len(known)]), 1)
        return torch.cat([flat[:, :1], places], dim=1), f"grid {known} to {target}"
    return positions.to_grid(theirs, known, target), f"grid {known} to {target}"


def _likely_grid(count: int, near: tuple[int, ...]) -> tuple[int, ...] | None:
    """The grid of ``count`` tokens in the proportions of ``near``, or equal along all axes."""
    axes = len(near)
    scale = (count / prod(near)) ** (1 / axes)
    alike = tuple(round(length * scale) for length in near)
    cube = (round(count ** (1 / axes)),) * axes
    if prod(alike) == count and _similar(alike, near):
        return alike
    return cube if prod(cube) == count else None


def _similar(grid: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(a * other[0] == b * grid[0] for a, b in zip(grid, other, strict=True))


def _differences(
    state: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    missing: Sequence[str],
    unexpected: Sequence[str],
) -> str:
    shapes = [
        f"{name} {tuple(state[name].shape)} not {tuple(weights[name].shape)}"
        for name in missing
        if name in weights
    ]
    absent = [name for name in missing if name not in weights]
    extra = [name for name in unexpected if name not in state]
    lists = (("Other shapes", shapes), ("Missing", absent), ("Without a place", extra))
    return "".join(f"{title}: {', '.join(names[:4])}. " for title, names in lists if names)
