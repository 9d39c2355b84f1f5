"""What a family of phantoms is, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from unmask.phantoms.bodies import Grid, Labels


def _no_pairs() -> NDArray[np.int64]:
    return np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Phantom:
    """An image and everything that is true about it.

    Attributes:
        image: ``(C, *space)``; uint8, or int16 in Hounsfield units for CT.
        labels: ``(*space)`` uint16 (uint32 above 65,535 objects), one number per object; 0 is
            background.
        classes: ``(*space)`` uint8 class numbers; 0 is background.
        spacing: voxel size, slow axis first.
        crossings: ``(K, 2)`` pairs of labels that overlap: the first lies on top of the second and
            owns the voxels that they share.
    """

    image: NDArray[Any]
    labels: Labels
    classes: NDArray[np.uint8]
    spacing: tuple[float, ...]
    crossings: NDArray[np.int64] = field(default_factory=_no_pairs)


class Family(Protocol):
    """A kind of image: options in a frozen dataclass, pictures from ``draw``.

    A family of another distribution registers in the entry point group ``unmask.phantoms``.

    Attributes:
        channels: number of channels of its images.
        classes: names of the classes; the first is the background.
        diameter: smallest and largest mean diameter of the objects of an image. The mean is drawn
            log-uniformly for every image, and is limited by the size of the image.
        pieces: whether an object may consist of several pieces, because others lie over it.
    """

    channels: ClassVar[int]
    classes: ClassVar[tuple[str, ...]]
    pieces: ClassVar[bool]
    diameter: tuple[float, float]

    def spacing(self, ndim: int, rng: np.random.Generator) -> tuple[float, ...]:
        """Voxel size for an image whose spacing is not given."""
        ...

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth; all chance comes from ``rng``."""
        ...


@dataclass(frozen=True)
class Isotropic:
    """A family whose voxels are cubes of size 1 unless another spacing is given."""

    def spacing(self, ndim: int, rng: np.random.Generator) -> tuple[float, ...]:  # noqa: ARG002
        """1 on every axis."""
        return (1.0,) * ndim


@dataclass(frozen=True)
class Stack:
    """A family of stacks whose sections are thicker than the pixels are wide."""

    thickness: tuple[float, float] = (1.0, 5.0)

    def spacing(self, ndim: int, rng: np.random.Generator) -> tuple[float, ...]:
        """1 on the last two axes, ``thickness`` on slower ones."""
        low, high = np.log(self.thickness)
        thick = float(np.exp(rng.uniform(low, high)))
        return (thick,) * max(0, ndim - 2) + (1.0,) * min(2, ndim)
