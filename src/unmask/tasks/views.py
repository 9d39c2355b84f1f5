"""A changed view of a crop whose embedding can be turned back, for any number of axes.

The changes are those of Pixel-Embedded Affinity (doi:10.1609/aaai.v36i1.19984).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unmask.errors import RecipeError
from unmask.space.box import Box


@dataclass(frozen=True)
class Turn:
    """Mirrored axes, then an exchange of the last two axes.

    Attributes:
        flips: whether each spatial axis is mirrored.
        swap: whether the last two axes are exchanged.
    """

    flips: tuple[bool, ...]
    swap: bool = False

    def apply(self, array: Float[Tensor, "c *space"]) -> Float[Tensor, "c *other"]:
        """The turned array."""
        axes = [axis for axis, flip in enumerate(self.flips, 1) if flip]
        array = array.flip(axes)
        return array.transpose(-1, -2) if self.swap else array

    def undo(self, array: Float[Tensor, "c *other"]) -> Float[Tensor, "c *space"]:
        """What ``apply`` was given."""
        array = array.transpose(-1, -2) if self.swap else array
        return array.flip([axis for axis, flip in enumerate(self.flips, 1) if flip])


@dataclass(frozen=True)
class Change:
    """What happens to one sample.

    Attributes:
        turn: its geometry.
        gain: factor of the intensities, and what is added to them.
        exponent: of the intensities, scaled to [0, 1] for it.
        boxes: where the image is covered.
    """

    turn: Turn
    gain: tuple[float, float] = (1.0, 0.0)
    exponent: float = 1.0
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class View:
    """Random mirroring, intensities and covered boxes.

    Attributes:
        p: share of the samples whose intensities change.
        contrast: largest change of the factor of intensities.
        brightness: largest shift, in units of the network's input.
        gamma: largest exponent of 2 in the exponent of intensities; 0: none.
        boxes: largest number of covered boxes.
        sides: smallest and largest side of a box along every axis; one pair counts for all axes.
        fill: ``mean`` of the objects in the crop, or ``zero``.
    """

    p: float = 1.0
    contrast: float = 0.05
    brightness: float = 0.05
    gamma: float = 0.0
    boxes: int = 20
    sides: Sequence[Sequence[int]] = ((0, 20),)
    fill: str = "mean"

    def __post_init__(self) -> None:
        rising = all(len(pair) == 2 and 0 <= pair[0] <= pair[1] for pair in self.sides)
        low = min(self.contrast, self.brightness, self.gamma, self.boxes)
        if not (0 <= self.p <= 1 and low >= 0 and rising and self.sides) or self.fill not in {
            "mean",
            "zero",
        }:
            raise RecipeError(
                f"task.view: expected p in [0, 1], contrast, brightness, gamma and boxes of 0 or "
                f"more, sides of rising pairs, fill mean or zero, found {self}. Correct the recipe."
            )

    def draw(self, rng: np.random.Generator, space: Sequence[int]) -> Change:
        """What happens to one sample of size ``space``."""
        flips = tuple(bool(rng.integers(2)) for _ in space)
        swap = bool(rng.integers(2)) and len(set(space[-2:])) == 1
        turn = Turn(flips, swap)
        boxes = self._draw_boxes(rng, space)
        if rng.random() >= self.p:
            return Change(turn, boxes=boxes)
        factor, shift, power = rng.uniform(-1, 1, 3)
        gain = (1 + self.contrast * factor, self.brightness * shift)
        return Change(turn, gain, 2.0 ** (self.gamma * power), boxes)

    def _draw_boxes(self, rng: np.random.Generator, space: Sequence[int]) -> tuple[Box, ...]:
        """Boxes of one size; where they lie is a share of the room, see ``cover``."""
        pairs = tuple(self.sides) * (len(space) // len(self.sides))
        size = rng.random()
        side = [
            min(n, round(pair[0] + size * (pair[1] - pair[0])))
            for n, pair in zip(space, pairs, strict=True)
        ]
        boxes: list[Box] = []
        for _ in range(rng.integers(self.boxes + 1)):
            start = [int(rng.integers(n - s + 1)) for n, s in zip(space, side, strict=True)]
            stop = (a + s for a, s in zip(start, side, strict=True))
            boxes.append(Box(tuple(start), tuple(stop)))
        return tuple(boxes)

    def apply(
        self, image: Float[Tensor, "c *space"], objects: Tensor, change: Change
    ) -> Float[Tensor, "c *other"]:
        """The changed sample; ``objects (*space)`` is above 0 where there are some."""
        factor, shift = change.gain
        image = image * factor + shift
        if change.exponent != 1:
            low, high = image.min(), image.max()
            span = (high - low).clamp(min=1e-6)
            image = ((image - low) / span) ** change.exponent * span + low
        level = torch.zeros_like(image[:, :1].flatten(1)[:, :1])
        if self.fill == "mean":
            level = _mean_inside(image, objects > 0)
        for box in change.boxes:
            image[(slice(None), *box.slices)] = level.view(-1, *(1,) * len(box.start))
        return change.turn.apply(image)


def _mean_inside(image: Float[Tensor, "c *space"], inside: Tensor) -> Float[Tensor, "c 1"]:
    """Mean of every channel over the voxels inside; over all voxels if none is."""
    if image.device.type == "cpu":
        chosen = image[:, inside] if bool(inside.any()) else image.flatten(1)
        return chosen.mean(1, keepdim=True)
    # Picking voxels, or asking for any, would make a GPU wait.
    flat, share = image.flatten(1), inside.flatten()[None]
    some = (flat * share).sum(1, keepdim=True) / share.sum().clamp(min=1)
    return torch.where(share.any(), some, flat.mean(1, keepdim=True))
