"""Random geometry for any number of axes, done as one resampling of image and labels together.

Flips, quarter turns, rotation, zoom, shear and elastic warping of one sample are one map from the
voxels of the crop to positions in the region read around it. A sample that draws flips and quarter
turns only is copied voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import atan2, ceil, cos, hypot, radians, sin

import numpy as np
from torch import Tensor

from unmask.data.warp import Warp, resample_cpu, resample_torch, rotate_and_flip
from unmask.errors import RecipeError


@dataclass(frozen=True)
class Spatial:
    """Random flips, turns and warps.

    Voxels are taken as cubes; ``plane_only`` suits slices thicker than their pixels are wide.

    Attributes:
        flip: mirror each axis in half of the samples.
        p_flip: share of the samples that are mirrored along one axis, drawn at random, in place of
            every axis on its own.
        rotate90: turn by a random number of quarter turns, 0 included, in every plane.
        p_rotate90: share of the samples for which quarter turns are drawn.
        rotate: largest rotation in degrees, in every plane (uniform in both directions).
        zoom: range of the magnification (uniform in its logarithm); 2 shows objects twice as large.
        zoom_each: draw the magnification of every axis on its own.
        scale: largest additional stretch of a single axis; 0.1 draws factors in 0.9 ... 1.11.
        shear: largest shear, as a shift in voxels for each voxel across.
        elastic: bound of the elastic shift along each axis, in voxels.
        elastic_grid: voxels between the control points of the elastic warp.
        p_rotate: share of the samples that are rotated.
        p_zoom: share of the samples that are zoomed and stretched.
        p_shear: share of the samples that are sheared.
        p_elastic: share of the samples that are warped.
        plane_only: all but flips act within the last two axes, for volumes of thick slices.
        reach: largest region read, as a multiple of the crop; beyond it the border is mirrored.
    """

    flip: bool = True
    p_flip: float | None = None
    rotate90: bool = True
    p_rotate90: float = 1.0
    rotate: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    zoom_each: bool = False
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    elastic_grid: float = 32.0
    p_rotate: float = 0.5
    p_zoom: float = 0.5
    p_shear: float = 0.5
    p_elastic: float = 0.5
    plane_only: bool = False
    reach: float = 1.5

    def __post_init__(self) -> None:
        problems = [
            f"{name}={value}: expected {wanted}"
            for name, value, good, wanted in (
                ("rotate", self.rotate, 0 <= self.rotate <= 180, "0 to 180 degrees"),
                ("zoom", self.zoom, _rising(self.zoom), "(low, high) with 0 < low <= high"),
                ("scale", self.scale, 0 <= self.scale < 1, "0 <= scale < 1"),
                ("shear", self.shear, 0 <= self.shear < 1, "0 <= shear < 1"),
                # A steeper warp would fold the image over itself.
                (
                    "elastic",
                    self.elastic,
                    0 <= self.elastic <= self.elastic_grid / 4,
                    f"0 to a quarter of elastic_grid={self.elastic_grid}",
                ),
                ("reach", self.reach, self.reach >= 1, "1 or more"),
                *(
                    (name, share, 0 <= share <= 1, "a share between 0 and 1")
                    for name, share in (
                        ("p_flip", self.p_flip or 0.0),
                        ("p_rotate90", self.p_rotate90),
                        ("p_rotate", self.p_rotate),
                        ("p_zoom", self.p_zoom),
                        ("p_shear", self.p_shear),
                        ("p_elastic", self.p_elastic),
                    )
                ),
            )
            if not good
        ]
        if problems:
            raise RecipeError(f"spatial: {'; '.join(problems)}. Change data.augment.")

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Warp:
        """Geometry of one sample whose result has ``shape = (C, *crop)``."""
        crop = tuple(shape[1:])
        moving = self._moving(len(crop))
        axes, flips = self._draw_turn(rng, len(crop), moving)
        linear = self._draw_linear(rng, len(crop), moving)
        control = None
        if self.elastic and rng.random() < self.p_elastic:
            points = [ceil(n / self.elastic_grid) + 3 for n in crop]
            control = np.zeros((len(crop), *points), np.float32)
            for axis in moving:
                control[axis] = rng.uniform(-self.elastic, self.elastic, points)
        return Warp(axes, flips, linear, control, self.elastic_grid)

    def read_shape(self, crop: Sequence[int]) -> tuple[int, ...]:
        """Region to read around the center of a crop so that the warped crop is filled.

        It holds the largest warp of the options, up to ``reach`` times the crop.
        """
        ndim = len(crop)
        moving = self._moving(ndim)
        span = self._span(crop, moving)
        least = np.array(crop)
        if self.rotate90:
            # A quarter turn lays any of these axes along any other.
            span[list(moving)] = span[list(moving)].max()
            least[list(moving)] = least[list(moving)].max()
        span[list(moving)] += 2 * self.elastic if self.p_elastic else 0.0
        shape = []
        for length, needed in zip(least.tolist(), span.tolist(), strict=True):
            wanted = min(ceil(needed - 1e-9) + 1, round(self.reach * length))
            # Of the crop's parity, so that both have one center.
            shape.append(max(length, wanted + (wanted - length) % 2))
        return tuple(shape)

    def resample(
        self, images: Tensor, labels: Tensor | None, params: Sequence[Warp], *, crop: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """Images ``(B, C, *crop)`` and labels ``(B, *crop)`` out of the larger regions read."""
        size = tuple(crop)
        warped = images.new_empty((*images.shape[:2], *size))
        moved = None if labels is None else labels.new_empty((labels.shape[0], *size))
        resample = resample_cpu if images.device.type == "cpu" else resample_torch
        for b, warp in enumerate(params):
            own = None if labels is None else labels[b]
            place = None if moved is None else moved[b]
            if not warp.exact:
                resample(images[b], own, warp, into=(warped[b], place))
                continue
            warped[b] = rotate_and_flip(images[b], warp, size)
            if own is not None and place is not None:
                place[...] = rotate_and_flip(own, warp, size)
        return warped, moved

    def _moving(self, ndim: int) -> tuple[int, ...]:
        """Axes that turns and warps act within."""
        return tuple(range(max(0, ndim - 2), ndim)) if self.plane_only else tuple(range(ndim))

    def _draw_turn(
        self, rng: np.random.Generator, ndim: int, moving: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        axes, flips = list(range(ndim)), [False] * ndim
        if self.rotate90 and (self.p_rotate90 == 1 or rng.random() < self.p_rotate90):
            for a, b in combinations(moving, 2):
                for _ in range(rng.integers(4)):
                    axes[a], axes[b] = axes[b], axes[a]
                    flips[a], flips[b] = flips[b], not flips[a]
        if not self.flip:
            return tuple(axes), tuple(flips)
        if self.p_flip is None:
            flips = [flip != bool(rng.integers(2)) for flip in flips]
        elif rng.random() < self.p_flip:
            axis = rng.integers(ndim)
            flips[axis] = not flips[axis]
        return tuple(axes), tuple(flips)

    def _draw_linear(
        self, rng: np.random.Generator, ndim: int, moving: Sequence[int]
    ) -> np.ndarray | None:
        matrix, changed = np.eye(ndim), False
        planes = list(combinations(moving, 2))
        if self.rotate and rng.random() < self.p_rotate:
            changed = True
            for plane in planes:
                angle = radians(rng.uniform(-self.rotate, self.rotate))
                matrix = matrix @ _rotation(ndim, plane, angle)
        if self.shear and rng.random() < self.p_shear:
            changed = True
            for a, b in planes:
                slant = np.eye(ndim)
                slant[(a, b) if rng.integers(2) else (b, a)] = rng.uniform(-self.shear, self.shear)
                matrix = matrix @ slant
        if (self.scale or tuple(self.zoom) != (1.0, 1.0)) and rng.random() < self.p_zoom:
            changed = True
            factors = np.ones(ndim)
            low, high = np.log(self.zoom)
            spread = -np.log1p(-self.scale)
            factors[list(moving)] = rng.uniform(low, high, len(moving) if self.zoom_each else None)
            factors[list(moving)] += rng.uniform(-spread, spread, len(moving))
            # The map runs from the crop to the image, so magnifying divides.
            matrix = matrix @ np.diag(
                [np.exp(-f) if a in moving else 1.0 for a, f in enumerate(factors)]
            )
        return matrix if changed else None

    def _span(self, crop: Sequence[int], moving: Sequence[int]) -> np.ndarray:
        """Longest extent along each axis that a drawn matrix can give a crop, in voxel steps."""
        span = np.array([max(0, n - 1) for n in crop], float)
        planes = list(combinations(moving, 2))[::-1]
        if self.p_zoom:
            span[list(moving)] *= max(1.0, 1.0 / (self.zoom[0] * (1.0 - self.scale)))
        if self.shear and self.p_shear:
            for a, b in planes:
                span[a], span[b] = span[a] + self.shear * span[b], span[b] + self.shear * span[a]
        if self.rotate and self.p_rotate:
            diagonal = float(np.linalg.norm(span[list(moving)]))
            most = radians(self.rotate)
            for a, b in planes:
                ahead, aside = span[a], span[b]
                span[a] = min(diagonal, _rotated_extent(ahead, aside, most))
                span[b] = min(diagonal, _rotated_extent(aside, ahead, most))
        return span


def _rising(pair: Sequence[float]) -> bool:
    return len(pair) == 2 and 0 < pair[0] <= pair[1]


def _rotation(ndim: int, plane: tuple[int, int], angle: float) -> np.ndarray:
    a, b = plane
    matrix = np.eye(ndim)
    matrix[a, a] = matrix[b, b] = cos(angle)
    matrix[a, b], matrix[b, a] = -sin(angle), sin(angle)
    return matrix


def _rotated_extent(ahead: float, aside: float, most: float) -> float:
    """Longest extent of a rectangle along an axis, turned by any angle up to ``most``."""
    widest = atan2(aside, ahead)
    if most >= widest:
        return hypot(ahead, aside)
    return ahead * cos(most) + aside * sin(most)
