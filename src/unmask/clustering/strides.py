"""Which windows give which voxels their features: the geometry of one axis.

A patch token describes the middle of its patch. To give every voxel a token of its own, windows
are moved voxel by voxel within a patch, and only the central tokens of each window are kept, which
see about equally far to all sides. The windows of several axes are all combinations of those of
each axis, so the geometry of one axis is enough.

Cover and stride of MAESTER (Xie et al., CVPR 2023, pp. 3292-3301). ``aligned`` gives every voxel
the token whose patch is centered on it; ``official`` repeats the released program, whose features
are displaced: that at (y, x) is of the patch around (y - 2, x + 3), blocks repeat after 19 voxels
instead of 20, and some places near the end stay empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unmask.errors import DataError, RecipeError, message


@dataclass(frozen=True)
class Tokens:
    """Tokens of one axis.

    Attributes:
        patch: voxels of a patch.
        grid: tokens of a window.
        center: tokens kept of a window, in its middle.
    """

    patch: int
    grid: int
    center: int

    def __post_init__(self) -> None:
        if not 1 <= self.center <= self.grid or self.patch < 1:
            raise RecipeError(
                f"features: expected 1 to {self.grid} central tokens, found {self.center}. "
                "Change center."
            )

    @property
    def window(self) -> int:
        """Voxels of a window."""
        return self.patch * self.grid

    @property
    def lead(self) -> int:
        """Tokens before the central ones."""
        return (self.grid - self.center) // 2


@dataclass(frozen=True)
class Cover:
    """Windows along one axis.

    Attributes:
        starts: ``(w,)`` first voxel of each window; outside the image where it is padded.
        tokens: ``(w, c)`` number of each kept token within its window.
        places: ``(w, c)`` the place that it describes; -1 for none. Every place comes once.
        count: places along the axis.
    """

    starts: np.ndarray
    tokens: np.ndarray
    places: np.ndarray
    count: int

    def within(self, start: int, stop: int) -> Cover:
        """The windows that describe places ``[start, stop)``, places counted from ``start``."""
        inside = (self.places >= start) & (self.places < stop)
        used = inside.any(axis=1)
        places = np.where(inside, self.places - start, -1)
        return Cover(self.starts[used], self.tokens[used], places[used], stop - start)


def cover_aligned(length: int, tokens: Tokens, stride: int = 1) -> Cover:
    """Every ``stride``-th voxel has the token whose patch is centered on it.

    The patch of voxel ``x`` begins at ``x - patch // 2``: for even patches its center is half a
    voxel before that of ``x``. With a stride the places are voxels ``stride // 2 + stride * i``,
    so that linear interpolation to all voxels needs no shift.

    Raises:
        RecipeError: a stride that does not divide the patch.
    """
    if stride < 1 or tokens.patch % stride:
        raise RecipeError(
            f"features: expected a stride that divides the patch of {tokens.patch}, found "
            f"{stride}. Choose another quality."
        )
    count = -(-length // stride)
    phases = tokens.patch // stride
    blocks = -(-count // (phases * tokens.center))
    block, phase = np.divmod(np.arange(blocks * phases), phases)
    first = block * phases * tokens.center + phase
    kept = np.arange(tokens.center)
    places = first[:, None] + kept * phases
    starts = stride // 2 + first * stride - tokens.patch // 2 - tokens.lead * tokens.patch
    numbers = np.broadcast_to(tokens.lead + kept, places.shape)
    return Cover(starts, numbers, np.where(places < count, places, -1), count).within(0, count)


def cover_official(length: int, tokens: Tokens, *, last_axis: bool) -> Cover:
    """Windows, tokens and places of the released program; places that it leaves out are in none.

    Args:
        length: voxels along the axis.
        tokens: tokens of the axis.
        last_axis: the released program counts one token too far in C order, which is one patch
            along the last axis.

    Raises:
        DataError: an axis too short for its first window.
        RecipeError: no token behind the central ones.
    """
    patch, center = tokens.patch, tokens.center
    if tokens.lead + 1 + center > tokens.grid:
        raise RecipeError(
            f"features with compat=official: expected tokens around the {center} central ones, "
            f"found {tokens.grid} in all. Use compat=aligned."
        )
    pad = 2 * (patch // 2) + tokens.lead * patch
    room = length + 2 * pad - tokens.window + 1
    if room < 1:
        raise DataError(
            message(
                "features with compat=official",
                expected=f"at least {tokens.window - 2 * pad} voxels along an axis",
                found=str(length),
                do="Use compat=aligned.",
            )
        )
    padded = np.array(_official_steps(room, patch, center))
    kept = np.arange(center)
    places = padded[:, None] + kept * patch
    places = _keep_last_writes(np.where(places < length, places, -1))
    first = tokens.lead + (1 if last_axis else 0)
    return Cover(padded - pad, np.broadcast_to(first + kept, places.shape), places, length)


def _official_steps(room: int, patch: int, center: int) -> list[int]:
    """``patch`` windows one voxel apart, then a jump where there is room for it, else on by one."""
    steps = [0]
    run = 1
    while steps[-1] + 1 < room:
        jump = steps[-1] + patch * center - patch
        if run >= patch and jump < room:
            steps.append(jump)
            run = 1
        else:
            steps.append(steps[-1] + 1)
            run += 1
    return steps


def _keep_last_writes(places: np.ndarray) -> np.ndarray:
    """Positions that a later window describes again are taken from the earlier one."""
    order = places.ravel()[::-1]
    _, first = np.unique(order, return_index=True)
    kept = np.full(order.shape, -1)
    kept[first] = order[first]
    return kept[::-1].reshape(places.shape)
