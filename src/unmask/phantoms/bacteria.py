"""Rod-shaped bacteria, alone and in dense colonies, in fluorescence or phase contrast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.phantoms.bodies import Floats, Grid, Labels, solid
from unmask.phantoms.fields import displacement, field
from unmask.phantoms.optics import blur, debris, eight_bit, fluorescence, lamp, per_object
from unmask.phantoms.painting import Painted, Tubes, paint_tubes
from unmask.phantoms.phantom import Isotropic, Phantom
from unmask.phantoms.placing import Points, fitting_diameter, log_uniform, orthonormal

_BALLS = 5


@dataclass(frozen=True)
class Bacteria(Isotropic):
    """Rod-shaped bacteria in colonies, in fluorescence or phase contrast.

    Args:
        diameter: smallest and largest mean diameter of a ball of the same volume.
        density: smallest and largest share of the space that rods cover.
        aspect: smallest and largest ratio of length and width.
        count: number of rods instead of a density; fewer are drawn if there is no room.
    """

    channels: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("background", "cell")
    pieces: ClassVar[bool] = False

    diameter: tuple[float, float] = (6.0, 40.0)
    density: tuple[float, float] = (0.03, 0.9)
    aspect: tuple[float, float] = (1.2, 7.0)
    count: int | None = None

    def draw(self, grid: Grid, rng: np.random.Generator) -> Phantom:
        """An image with its truth."""
        diameter = fitting_diameter(grid, self.diameter, rng)
        aspect = log_uniform(rng, *self.aspect)
        n = len(grid.shape)
        width = diameter / (1.27 * aspect) ** (1 / n)
        volume = 0.78 * diameter**n
        density = log_uniform(rng, *self.density)
        count = self.count
        if count is None:
            count = max(1, round(density * float(np.prod(grid.extent + diameter / 2)) / volume))
        length = width * np.clip(aspect * np.exp(0.25 * rng.standard_normal(count)), 1.05, None)
        ends = place_rods(grid, length, width, rng)
        radius = np.full(ends.shape[:2], width / 2)
        radius *= np.exp(0.06 * rng.standard_normal((len(ends), 1)))
        tubes = Tubes(ends, radius, np.arange(1, len(ends) + 1))
        bend = displacement(grid, 2 * diameter, rng.uniform(0, 0.08) * diameter, rng)
        painted = paint_tubes(grid, tubes, bend)
        labels = solid(painted.owner)
        style = _phase if rng.random() < 0.3 else _glow
        image = style(grid, labels, painted, width, rng)
        return Phantom(image[None], labels, (labels > 0).astype(np.uint8), grid.spacing)


def place_rods(
    grid: Grid, length: NDArray[np.float64], width: float, rng: np.random.Generator
) -> Points:
    """Both ends of the axes of rods that do not overlap: ``(M, 2, n)``.

    Most rods are put next to one that lies there, nearly parallel, as daughters of a cell do.
    """
    n, count = len(grid.shape), len(length)
    tries = 14 * count + 14
    margin = float(length.mean()) / 2 if count else 0.0
    free = rng.uniform(-margin, grid.extent + margin, (tries, n))
    frames = orthonormal(tries, n, rng)[:, :2]
    chance = rng.random((tries, 4))
    wobble = rng.uniform(0.02, 0.3) * rng.standard_normal((tries, n))
    loose = rng.uniform(0.02, 0.4) if rng.random() < 0.7 else 1.0
    return _place_rods(free, frames, chance, wobble, length, width, grid.extent + margin, loose)


@njit(cache=True, nogil=True)
def _place_rods(  # noqa: C901 - a kernel: flat arrays in, no objects
    free: Points,
    frames: Points,
    chance: Points,
    wobble: Points,
    length: NDArray[np.float64],
    width: float,
    limit: NDArray[np.float64],
    loose: float,
) -> Points:
    count, n = len(length), free.shape[1]
    ends = np.zeros((count, 2, n))
    middle = np.zeros((count, n))
    axis = np.zeros((count, n))
    balls = np.zeros((count, _BALLS, n))
    placed = 0
    for attempt in range(len(free)):
        if placed == count:
            break
        core = length[placed] - width
        center, direction = free[attempt].copy(), frames[attempt, 0].copy()
        if placed and chance[attempt, 0] > loose:
            neighbor = int(chance[attempt, 1] * placed)
            direction = axis[neighbor] + wobble[attempt]
            direction /= np.sqrt(np.sum(direction**2))
            side = frames[attempt, 1] - np.sum(frames[attempt, 1] * axis[neighbor]) * axis[neighbor]
            side /= np.sqrt(np.sum(side**2)) + 1e-12
            reach = (length[placed] + length[neighbor]) / 2
            if chance[attempt, 2] < 0.6:
                slide = (chance[attempt, 3] - 0.5) * reach
                center = middle[neighbor] + side * width * 1.08 + axis[neighbor] * slide
            else:
                sign = 1.0 if chance[attempt, 3] < 0.5 else -1.0
                center = middle[neighbor] + sign * axis[neighbor] * reach * 1.04
        fits = True
        for a in range(n):
            fits = fits and free[:, a].min() <= center[a] <= limit[a]
        for k in range(_BALLS):
            balls[placed, k] = center + direction * core * (k / (_BALLS - 1) - 0.5)
        for i in range(placed):
            if not fits:
                break
            apart = 0.0
            for a in range(n):
                apart += (center[a] - middle[i, a]) ** 2
            if apart > ((length[placed] + length[i]) / 2) ** 2:
                continue
            for k in range(_BALLS):
                for m in range(_BALLS):
                    total = 0.0
                    for a in range(n):
                        total += (balls[placed, k, a] - balls[i, m, a]) ** 2
                    fits = fits and total >= (0.93 * width) ** 2
        if fits:
            middle[placed], axis[placed] = center, direction
            ends[placed, 0] = center - direction * core / 2
            ends[placed, 1] = center + direction * core / 2
            placed += 1
    return ends[:placed]


def _glow(
    grid: Grid, labels: Labels, painted: Painted, width: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Bright rods on a dark ground, full or with a bright wall."""
    depth = np.clip(painted.depth, 0, 1)
    wall = np.exp(-(((depth - 0.8) / 0.25) ** 2))
    share = rng.uniform(0, 1) * (rng.random() < 0.3)
    profile = (1 - share) * np.clip(1 - depth**2, 0.05, 1) ** 0.4 + share * wall
    grain = np.clip(1 + rng.uniform(0, 0.35) * field(grid, max(1.0, 0.4 * width), rng), 0, None)
    level = per_object(labels, rng.uniform(0.05, 0.5), rng)
    light = (labels > 0) * level * profile * grain + 0.6 * debris(grid, width, rng)
    return fluorescence(grid, np.asarray(light, np.float32), width, rng)


def _phase(
    grid: Grid, labels: Labels, painted: Painted, width: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Dark rods with a bright halo on gray ground."""
    depth = np.clip(painted.depth, 0, 1)
    thick = (labels > 0) * np.sqrt(np.clip(1 - depth**2, 0.02, 1))
    thick = blur(grid, thick * per_object(labels, 0.15, rng), rng.uniform(0.4, 1.0))
    halo: Floats = blur(grid, thick, width * rng.uniform(0.5, 1.5))
    scene = rng.uniform(0.4, 0.7) + rng.uniform(0.2, 0.8) * (rng.uniform(0.3, 1) * halo - thick)
    scene = scene * lamp(grid, rng.uniform(0, 0.15), rng)
    scene += np.float32(rng.uniform(0, 0.03)) * field(grid, 4 * width, rng)
    noise = np.float32(log_uniform(rng, 0.004, 0.06))
    return eight_bit(scene + noise * rng.standard_normal(grid.shape, dtype=np.float32))
