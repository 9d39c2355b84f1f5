"""Cheap statistics of a section of an image: size, shape, contrast, noise and color of its parts.

They hold for photographs and phantoms alike, so that the distance of their statistics says how much
a phantom resembles a photograph. Absolute brightness and exposure are left out: they are matched
after the drawing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from unmask.labels.components import connected_components

Section = NDArray[np.float32]
Statistics = NDArray[np.float32]

# Shares of the voxels between which the gray values are spread to 0 .. 1.
_RANGE = (0.3, 99.7)
_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_BANDS = 10
# Widths of the Gaussians whose differences measure spots of a size.
_SCALES = (1, 2, 4, 8, 16)
# Of the distances to the border within bright and within dark regions.
_DEPTHS = (0.5, 0.9)
# Sections of a volume that are measured.
_SECTIONS = 3
_TINY = 1e-6


def measure(image: NDArray[Any]) -> Statistics:
    """Statistics ``(d,)`` of an image ``(C, *space)`` in any unit: mean over a few sections.

    A volume has one more fact that sections do not show: how fast it changes along the slow axis.
    """
    space = image.shape[1:]
    slow = int(np.prod(space[:-2]))
    sections = np.asarray(image, np.float32).reshape(len(image), slow, *space[-2:])
    at = np.unique(np.linspace(0, slow - 1, _SECTIONS + 2).round().astype(int)[1:-1])
    mean = np.mean([measure_section(sections[:, k]) for k in at.tolist()], axis=0)
    return np.append(mean, np.float32(_change(sections.mean(axis=0)))).astype(np.float32)


def _change(sections: Section) -> float:
    """Logarithm of the mean squared difference of neighboring sections, relative to variance."""
    if len(sections) < 2:
        return 0.0
    step = float(np.mean(np.diff(sections, axis=0) ** 2))
    return float(np.log(step / (2 * float(sections.var()) + _TINY) + 1e-3))


def measure_section(section: Section) -> Statistics:
    """Statistics of a section ``(C, Y, X)``; up to three channels are used."""
    gray = spread_range(section[:3].mean(axis=0))
    parts = [
        *np.quantile(gray, _QUANTILES),
        *_spectrum(gray),
        *_spots(gray),
        *_edges(gray),
        *_regions(gray),
        np.log(noise_level(gray) + 1e-3),
        *_color(section),
    ]
    return np.nan_to_num(np.array(parts, np.float32))


def spread_range(gray: Section) -> Section:
    """Values between two percentiles as 0 .. 1, clipped; 0 for a constant image."""
    low, high = np.percentile(gray, _RANGE)
    return np.clip((gray - low) / max(high - low, _TINY), 0, 1).astype(np.float32)


def noise_level(gray: Section) -> float:
    """Standard deviation of the noise, from second differences (Immerkaer 1996).

    The median of blocks is replaced by the lower quartile, so that texture counts less.
    """
    mixed = gray
    for axis in range(gray.ndim):
        if gray.shape[axis] > 2:
            mixed = ndimage.correlate1d(mixed, [1.0, -2.0, 1.0], axis, mode="mirror")
    mixed = mixed / np.float32(6 ** (gray.ndim / 2))
    blocks = ndimage.uniform_filter(np.abs(mixed), 9)
    return float(np.quantile(blocks, 0.25)) * 1.2533


def _spectrum(gray: Section) -> list[float]:
    """Share of the power in bands that are equally wide in octaves, as logarithms."""
    window = (gray - gray.mean()) * np.outer(*(np.hanning(n + 2)[1:-1] for n in gray.shape))
    power = np.abs(np.asarray(fft.rfft2(window))) ** 2
    frequencies = np.hypot(
        np.fft.fftfreq(gray.shape[0])[:, None], np.fft.rfftfreq(gray.shape[1])[None]
    )
    band = np.digitize(frequencies, np.geomspace(1 / 128, 0.5, _BANDS + 1))
    sums = np.bincount(band.ravel(), power.ravel(), _BANDS + 2)[1 : _BANDS + 1]
    return np.log(sums / (sums.sum() + 1e-9) + 1e-6).tolist()


def _spots(gray: Section) -> list[float]:
    """Strength, polarity and sparsity of spots at several scales."""
    values: list[float] = []
    finer = gray
    for scale in _SCALES:
        coarser = np.asarray(ndimage.gaussian_filter(gray, scale, truncate=3))
        band = finer - coarser
        deviation = float(band.std()) + _TINY
        skew = float((band**3).mean()) / deviation**3
        tails = float((band**4).mean()) / deviation**4
        values += [np.log(deviation), np.arcsinh(skew), np.log(tails + 0.1)]
        finer = coarser
    return values


def _edges(gray: Section) -> list[float]:
    """How strong edges are, how few voxels hold them, and how parallel they run nearby."""
    values: list[float] = []
    for scale in (1.0, 3.0):
        y = ndimage.gaussian_filter(gray, scale, order=(1, 0), truncate=3)  # pyright: ignore[reportArgumentType]
        x = ndimage.gaussian_filter(gray, scale, order=(0, 1), truncate=3)  # pyright: ignore[reportArgumentType]
        strength = y**2 + x**2
        total = float(strength.mean()) + 1e-9
        share = float(np.quantile(strength, 0.9)) / total
        tensor = [ndimage.gaussian_filter(p, 3 * scale, truncate=3) for p in (y * y, x * x, x * y)]
        difference = np.hypot(tensor[0] - tensor[1], 2 * tensor[2])
        coherence = float((difference / (tensor[0] + tensor[1] + 1e-9) * strength).mean()) / total
        values += [np.log(total), np.log(share + 0.01), 2 * coherence]
    return values


def _regions(gray: Section) -> list[float]:
    """Share, size and raggedness of bright and of dark regions after a little blur."""
    smooth = np.asarray(ndimage.gaussian_filter(gray, 1.5, truncate=3), np.float32)
    bright = smooth > separating_value(smooth)
    values = [float(bright.mean()), float(smooth[bright].mean() if bright.any() else 0)]
    for mask in (bright, ~bright):
        depth = np.asarray(ndimage.distance_transform_edt(mask))
        inside = depth[mask]
        values += [
            float(np.log(q + 0.5)) for q in
            (np.quantile(inside, _DEPTHS) if inside.size else (0.0, 0.0))
        ]  # fmt: skip
        count = int(connected_components(mask.astype(np.int32), connectivity=1).max(initial=0))
        values.append(float(np.log(mask.sum() / max(count, 1) + 1)) / 2)
    border = float((bright != ndimage.binary_erosion(bright)).mean())
    values.append(float(np.log(border + 0.005)))
    return values


def separating_value(gray: Section) -> float:
    """Threshold that separates bright from dark best (Otsu 1979)."""
    counts, edges = np.histogram(gray, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = sums / below - (sums[-1] - sums) / above
        between = np.nan_to_num(below * above * apart**2)
    return float(edges[1 + int(between.argmax())])


def _color(section: Section) -> list[float]:
    """How much channels differ, and the color of the dark and of the bright part."""
    if len(section) < 3:
        return [0.0] * 5
    channels = section[:3].reshape(3, -1)
    low, high = np.percentile(channels, _RANGE)
    scaled = np.clip((channels - low) / max(high - low, _TINY), 0, 1)
    gray = scaled.mean(axis=0)
    chroma = scaled - gray
    dark = gray <= np.median(gray)
    tints = [
        chroma[:, dark].mean(axis=1),
        chroma[:, ~dark].mean(axis=1) if (~dark).any() else [0.0] * 3,
    ]
    return [
        2 * float(np.abs(chroma).mean()) ** 0.5,
        *(4 * float(t) for tint in tints for t in tint[:2]),
    ]
