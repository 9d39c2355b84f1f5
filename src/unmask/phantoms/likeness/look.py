"""Give a phantom the look of a photograph: its gray values, colors, noise and type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unmask.phantoms.bodies import Floats
from unmask.phantoms.likeness.statistics import noise_level

# Quantiles of the look; dense at both ends, where small bright or dark objects are.
_STEPS = np.array(
    [0, 0.3, 1, 2, 4, 7, *range(10, 91, 5), 93, 96, 98, 99, 99.7, 100], np.float64
)  # fmt: skip
# Of these, the ones that bend the curve. A curve through all would turn a little uneven light into
# a cliff where a phantom has fewer bright voxels than the photograph.
_BENDS = np.searchsorted(_STEPS, [0, 0.3, 10, 50, 90, 99.7, 100])
# A curve may stretch gray values this much more than the whole range is stretched: a flat part of a
# phantom whose noise is stretched without limit would become texture.
_STEEPEST = 2.5
# Correlation of neighboring voxels of noise that a Gaussian of this width in voxels has.
_WIDTHS = ((0.1, 0.0), (0.3, 0.45), (0.6, 0.7), (0.8, 1.0), (2.0, 1.5))


@dataclass(frozen=True)
class Look:
    """Gray values, colors and noise of a photograph, independent of its content.

    Attributes:
        gray: quantiles of the mean of its channels.
        colors: ``(C, quantiles)`` quantiles per channel.
        palette: ``(C, quantiles)`` mean color of the voxels at each gray quantile.
        noise: standard deviation of the noise of the gray values.
        grain: width of the Gaussian that gives white noise the correlation of this noise.
        dtype: type of its voxels.
    """

    gray: NDArray[np.floating]
    colors: NDArray[np.floating]
    palette: NDArray[np.floating]
    noise: float
    grain: float
    dtype: np.dtype[Any]


def read_look(image: NDArray[Any]) -> Look:
    """The look of an image ``(C, *space)``."""
    values = image.astype(np.float32)
    gray = _gray(values)
    knots = np.percentile(gray, _STEPS)
    bins = np.searchsorted(knots[1:-1], gray.ravel())
    counts = np.maximum(np.bincount(bins, minlength=len(_STEPS) - 1), 1)
    flat = values.reshape(len(values), -1)
    means = np.stack([np.bincount(bins, c, len(_STEPS) - 1) / counts for c in flat])
    # An empty bin (many equal values) takes the color of the one before.
    filled = np.maximum.accumulate(np.where(np.bincount(bins, minlength=len(counts)) > 0,
                                            np.arange(len(counts)), 0))  # fmt: skip
    means = means[:, filled]
    palette = np.concatenate([means[:, :1], (means[:, 1:] + means[:, :-1]) / 2, means[:, -1:]], 1)
    return Look(
        knots, np.percentile(flat, _STEPS, axis=1).T, palette, noise_level(_section(gray)),
        _grain(_section(gray)), image.dtype,
    )  # fmt: skip


def apply_look(image: NDArray[Any], look: Look, rng: np.random.Generator) -> NDArray[Any]:
    """A phantom ``(C, *space)`` with the gray values, colors and noise of a photograph.

    Channels become those of the photograph: a gray phantom is colored by the palette.
    """
    values = image.astype(np.float32)
    if len(values) == len(look.colors) and len(values) > 1:
        result = np.stack([
            _match(channel, np.percentile(channel, _STEPS), knots)
            for channel, knots in zip(values, look.colors, strict=True)
        ])  # fmt: skip
    else:
        gray = _gray(values)
        gray = _match(gray, np.percentile(gray, _STEPS), look.gray)
        known, first = np.unique(look.gray, return_index=True)
        result = np.stack([np.interp(gray, known, channel[first]) for channel in look.palette])
    result = result.astype(np.float32)
    own = noise_level(_section(_gray(result)))
    missing = np.sqrt(max(look.noise**2 - own**2, 0.0))
    if missing > 0.1 * look.noise:
        result += np.float32(missing) * _noise(result.shape, look, rng)
    return cast_values(result, look.dtype)


def _gray(values: Floats) -> Floats:
    return values[:3].mean(axis=0)


def _section(gray: Floats) -> Floats:
    """The middle section of a volume."""
    while gray.ndim > 2:
        gray = gray[len(gray) // 2]
    return gray


def _match(
    values: Floats, knots: NDArray[np.floating], wanted: NDArray[np.floating]
) -> NDArray[np.float64]:
    """A rising curve that brings quantiles to wanted ones, nowhere much steeper than on average."""
    knots, wanted = knots[_BENDS], wanted[_BENDS]
    steps, targets = np.diff(knots), np.diff(wanted)
    inner = slice(1, -1)
    mean = targets[inner].sum() / max(float(steps[inner].sum()), 1e-6)
    targets = np.minimum(targets, _STEEPEST * mean * np.maximum(steps, 1e-6))
    curve = np.concatenate([[0.0], np.cumsum(targets)])
    # What the limit takes away is missing at both ends alike.
    curve += wanted[len(wanted) // 2] - curve[len(curve) // 2]
    known, last = np.unique(knots[::-1], return_index=True)
    return np.interp(values, known, curve[::-1][last])


def _grain(gray: Floats) -> float:
    """Width of noise from the correlation of neighbors in the emptiest quarter of the image."""
    residual = gray - ndimage.gaussian_filter(gray, 2.0)
    block = 12
    height, width = (n // block * block for n in gray.shape)
    if min(height, width) < 2 * block:
        return 0.0
    tiles = residual[:height, :width].reshape(height // block, block, width // block, block)
    tiles = tiles.swapaxes(1, 2).reshape(-1, block, block)
    power = tiles.var(axis=(1, 2))
    empty = tiles[power <= np.quantile(power, 0.25)]
    total = float((empty**2).mean())
    if total <= 1e-9:
        return 0.0
    neighbors = float((empty[:, :, 1:] * empty[:, :, :-1]).mean()) / total
    return next(width for limit, width in _WIDTHS if neighbors < limit)


def _noise(shape: tuple[int, ...], look: Look, rng: np.random.Generator) -> Floats:
    """Noise of deviation 1, equal in all channels of a gray image stored in color."""
    gray = len(look.palette) > 1 and np.ptp(look.palette, axis=0).max() < 1e-6
    noise = rng.standard_normal((1 if gray else shape[0], *shape[1:]), dtype=np.float32)
    if look.grain > 0:
        widths = [0.0] * (noise.ndim - 2) + [look.grain] * 2
        noise = ndimage.gaussian_filter(noise, widths)
        noise /= max(float(noise.std()), 1e-6)
    return np.broadcast_to(noise, shape)


def cast_values(values: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in a type, rounded and clipped if it is an integer."""
    if dtype.kind not in "ui":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
