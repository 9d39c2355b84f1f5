"""From a scene to a picture: blur, light, background, dirt, noise and exposure.

Scenes are float32 ``(*space)`` in units of about 1. All widths are physical lengths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.phantoms.bodies import Floats, Grid, Labels
from unmask.phantoms.fields import field
from unmask.phantoms.painting import paint_ellipsoids
from unmask.phantoms.placing import log_uniform, random_ellipsoids

# From here on two passes of a running mean are faster than a Gaussian kernel and look the same.
_WIDE = 4.0
# Below so many photons the Poisson distribution is visibly not a Gaussian.
_FEW_PHOTONS = 12.0


def blur(grid: Grid, image: Floats, sigma: float, *, axial: float = 1.0) -> Floats:
    """Gaussian blur; axes slower than the last two are blurred ``axial`` times as much."""
    flat = [1.0] * min(2, len(grid.shape))
    factors = [axial] * (len(grid.shape) - len(flat)) + flat
    result = np.asarray(image, np.float32)
    for axis, (factor, step) in enumerate(zip(factors, grid.spacing, strict=True)):
        voxels = sigma * factor / step
        if voxels < 0.25 or grid.shape[axis] == 1:
            continue
        if voxels < _WIDE:
            result = ndimage.gaussian_filter1d(result, voxels, axis, mode="nearest", truncate=3.0)
        else:
            # Two running means of width w have the variance (w * w - 1) / 6.
            width = max(1, round(np.sqrt(6 * voxels**2 + 1)))
            for _ in range(2):
                result = ndimage.uniform_filter1d(result, width, axis, mode="nearest")
    return np.asarray(result, np.float32)


def per_object(
    labels: Labels, spread: float, rng: np.random.Generator, *, background: float = 0.0
) -> Floats:
    """A log-normal level per object, spread over its voxels."""
    levels = np.exp(spread * rng.standard_normal(int(labels.max(initial=0)) + 1))
    levels[0] = background
    return levels.astype(np.float32)[labels]


def ridges(grid: Grid, scale: float, width: float, rng: np.random.Generator) -> Floats:
    """Thin bright threads (surfaces in more than two axes) where a smooth field changes sign."""
    return np.exp(-((field(grid, scale, rng) / np.float32(width)) ** 2))


def lamp(grid: Grid, strength: float, rng: np.random.Generator) -> Floats:
    """Uneven illumination around 1."""
    wide = field(grid, 0.6 * float(grid.extent.max()), rng)
    return np.exp(np.float32(strength) * wide)


def specks(
    grid: Grid, count: int, size: tuple[float, float], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int32]]:
    """Small blobs for dirt and spots: how much of one covers each voxel (0 to 1), and which."""
    center = rng.uniform(0, 1, (count, len(grid.shape))) * grid.extent
    radius = np.exp(rng.uniform(np.log(size[0] / 2), np.log(size[1] / 2), count))
    bodies = random_ellipsoids(center, radius, rng, elongation=1.4, reach=1.2)
    painted = paint_ellipsoids(grid, bodies)
    return np.clip(1.5 - 1.5 * painted.depth, 0, 1), painted.owner


def debris(grid: Grid, diameter: float, rng: np.random.Generator) -> Floats:
    """Light of a few small fragments of different brightness, in about half of the images."""
    count = int(rng.poisson(log_uniform(rng, 0.3, 12)))
    cover, owner = specks(grid, count, (max(1.5, 0.06 * diameter), max(2.0, 0.3 * diameter)), rng)
    levels = np.exp(rng.normal(-1.0, 0.8, count + 1)).astype(np.float32)
    return np.minimum(cover * levels[owner], 2)


def ghosts(grid: Grid, diameter: float, density: float, rng: np.random.Generator) -> Floats:
    """Light of objects out of focus, which the truth does not hold."""
    n = len(grid.shape)
    mean = density * float(np.prod(grid.extent + diameter)) / diameter**n
    count = int(rng.poisson(min(mean, 400)))
    center = rng.uniform(-diameter / 2, grid.extent + diameter / 2, (count, n))
    radius = diameter / 2 * rng.uniform(0.7, 1.3, count)
    painted = paint_ellipsoids(grid, random_ellipsoids(center, radius, rng))
    levels = np.append(0, np.exp(rng.normal(0, 0.5, count))).astype(np.float32)
    return blur(grid, levels[painted.owner], log_uniform(rng, 0.1, 0.4) * diameter)


def photons(scene: Floats, level: float, read: float, rng: np.random.Generator) -> Floats:
    """Shot and read noise; ``level`` is the number of photons at a scene of 1.

    Returns:
        The noisy scene, again in units of the scene.
    """
    mean = np.clip(scene, 0, None) * np.float32(level)
    if level < _FEW_PHOTONS:
        counts = rng.poisson(mean).astype(np.float32)
        counts += np.float32(read) * rng.standard_normal(mean.shape, dtype=np.float32)
    else:
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        counts = mean + noise * np.sqrt(mean + np.float32(read**2))
    return counts / np.float32(level)


def fluorescence(
    grid: Grid, light: Floats, diameter: float, rng: np.random.Generator, *, axial: float = 2.0
) -> NDArray[np.uint8]:
    """Picture of a glowing scene: blur, haze, background, lamp, noise and exposure.

    Args:
        grid: where the scene lies.
        light: emitted light, about 1 in objects.
        diameter: size of the objects, to which blur and haze are related.
        rng: draws all of it, over wide ranges.
        axial: how much wider the blur is along the axes slower than the last two.
    """
    sharp = blur(
        grid, light, log_uniform(rng, 0.4, max(0.5, min(2.5, 0.06 * diameter))), axial=axial
    )
    haze = blur(grid, light, log_uniform(rng, 0.3, 1.2) * diameter)
    background = rng.uniform(0, 0.12) * np.clip(1 + 0.5 * field(grid, 2 * diameter, rng), 0, None)
    scene = sharp + log_uniform(rng, 0.02, 0.35) * haze + background
    scene = (scene + log_uniform(rng, 0.003, 0.15)) * lamp(grid, rng.uniform(0, 0.35), rng)
    noisy = photons(scene, log_uniform(rng, 8, 1500), rng.uniform(0.5, 3), rng)
    return expose(noisy, float(np.quantile(scene[..., ::2], 0.998)), rng)


def expose(
    image: Floats, bright: float, rng: np.random.Generator, low: float = 0.12
) -> NDArray[np.uint8]:
    """8 bits with a random offset, so that ``bright`` lands between ``low`` and saturation."""
    gain = log_uniform(rng, low, 1.15) / max(bright, 1e-3)
    return eight_bit(image * np.float32(gain) + np.float32(rng.uniform(0, 0.05)))


def eight_bit(image: Floats) -> NDArray[np.uint8]:
    """From 0 .. 1 to 0 .. 255; values outside saturate."""
    return np.clip(np.rint(image * np.float32(255)), 0, 255).astype(np.uint8)


def electron_noise(
    grid: Grid, image: Floats, rng: np.random.Generator, *, noise: float = 0.08
) -> NDArray[np.uint8]:
    """Electron micrograph of a scene in 0 .. 1: blur, uneven stain, grain, contrast.

    ``noise`` is the largest standard deviation of the noise.
    """
    image = blur(grid, image, rng.uniform(0.3, 1.1))
    image = image + np.float32(rng.uniform(0, 0.06)) * field(
        grid, 0.5 * float(grid.extent.max()), rng
    )
    contrast, brightness = rng.uniform(0.55, 1.15), rng.uniform(-0.12, 0.1)
    image = (image - 0.5) * np.float32(contrast) + np.float32(0.5 + brightness)
    strength = np.float32(log_uniform(rng, 0.01, noise))
    image += strength * rng.standard_normal(grid.shape, dtype=np.float32)
    grain = field(Grid(grid.shape, (1.0,) * len(grid.shape)), rng.uniform(1.3, 2.2), rng)
    return eight_bit(image + np.float32(rng.uniform(0.2, 0.7)) * strength * grain)
