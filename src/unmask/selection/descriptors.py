"""What an image looks like, in numbers that need no network: texture by scale, brightness, color.

The power spectrum by spatial frequency tells sizes and texture, quantiles tell staining and
background, channel differences tell color. They suit any number of axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from unmask.data.portions import middle_box
from unmask.io import Image

# Bands of the spectrum, equally wide in octaves, and quantiles of the brightness.
_BANDS = 10
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# Widths in voxels of the Gaussians whose differences measure spots and their polarity.
_SCALES = (1, 2, 4, 8, 16)
# Voxels that are read of an image, from its middle.
_BYTES = 8 << 20


def describe(image: Image) -> NDArray[np.float32]:
    """Descriptor ``(d,)`` of an image, from at most 8 MB in its middle.

    Raises:
        DataError: the image cannot be read.
    """
    values = image.read(middle_box(image, _BYTES)).astype(np.float32)
    gray = values[:3].mean(axis=0)
    low, high = np.percentile(gray, (0.5, 99.5))
    gray = np.clip((gray - low) / max(high - low, 1e-6), 0, 1)
    parts = [*np.quantile(gray, _QUANTILES), *_spectrum(gray), *_spots(gray), *_color(values)]
    return np.nan_to_num(np.array(parts, np.float32))


def _spectrum(gray: np.ndarray) -> list[float]:
    """Logarithm of the power in each band, of which the mean is taken off."""
    window = gray - gray.mean()
    for axis, length in enumerate(gray.shape):
        taper = np.hanning(length + 2)[1:-1] if length > 1 else np.ones(1)
        shape = [1] * gray.ndim
        shape[axis] = length
        window = window * taper.reshape(shape)
    power = np.abs(np.asarray(fft.rfftn(window))) ** 2
    squares = np.zeros(power.shape)
    for axis, length in enumerate(gray.shape):
        last = axis == gray.ndim - 1
        frequency = np.fft.rfftfreq(length) if last else np.fft.fftfreq(length)
        shape = [1] * gray.ndim
        shape[axis] = len(frequency)
        squares = squares + (frequency**2).reshape(shape)
    radius = np.sqrt(squares)
    edges = np.geomspace(1 / 128, 0.5, _BANDS + 1)
    band = np.digitize(radius, edges)
    sums = np.bincount(band.ravel(), weights=power.ravel(), minlength=_BANDS + 2)[1 : _BANDS + 1]
    logs = np.log(sums + 1e-9)
    return (logs - logs.mean()).tolist()


def _spots(gray: np.ndarray) -> list[float]:
    """Strength and polarity of spots at several scales."""
    found: list[float] = []
    blurred = gray
    for scale in _SCALES:
        coarser = np.asarray(ndimage.gaussian_filter(gray, scale))
        band = blurred - coarser
        deviation = float(band.std())
        found += [np.log(deviation + 1e-6), float((band**3).mean()) / (deviation**3 + 1e-9)]
        blurred = coarser
    return found


def _color(values: np.ndarray) -> list[float]:
    """Means of up to three channels relative to their sum, and how much they differ."""
    channels = values[:3] if len(values) >= 3 else values[:1].repeat(3, axis=0)
    means = channels.reshape(3, -1).mean(axis=1)
    total = float(np.abs(means).sum()) + 1e-6
    spread = float(np.abs(np.diff(channels, axis=0)).mean()) / total
    return [*(means / total).tolist(), 3 * spread]
