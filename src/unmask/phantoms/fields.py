"""Smooth random fields: a compiled B-spline that visits four knots per voxel and axis.

``bodies.field`` multiplies by dense matrices instead. It stays because the first two phantoms, and
results that were published with them, depend on its last bits; this one takes a fifth of the time
on a volume of 96^3.
"""

from __future__ import annotations

from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit
from unmask.phantoms.bodies import SPLINE_POWER, Floats, Grid


def field(grid: Grid, scale: float, rng: np.random.Generator) -> Floats:
    """Smooth Gaussian field of mean 0 and variance 1 that changes over about ``scale``.

    A cubic B-spline with random coefficients (Unser, Aldroubi & Eden 1993,
    doi:10.1109/78.193220).

    Args:
        grid: where the field is needed.
        scale: a physical length; along an axis with larger voxels, the field changes from voxel to
            voxel.
        rng: draws the coefficients.
    """
    steps = np.maximum(scale / np.asarray(grid.spacing), 1.0).tolist()
    knots = [ceil((n - 1) / step) + 4 for n, step in zip(grid.shape, steps, strict=True)]
    values = rng.standard_normal(knots, dtype=np.float32)
    values *= np.float32(SPLINE_POWER ** (-len(knots) / 2))
    # The last axis first: it is the fastest one, and the array is still small.
    for axis in reversed(range(len(knots))):
        at = np.arange(grid.shape[axis]) / steps[axis] + 1 + rng.random()
        before, after = prod(values.shape[:axis]), prod(values.shape[axis + 1 :])
        rows = values.reshape(before, knots[axis], after)
        values = _interpolate(rows, at).reshape(
            *values.shape[:axis], grid.shape[axis], *values.shape[axis + 1 :]
        )
    return values


def displacement(grid: Grid, scale: float, size: float, rng: np.random.Generator) -> Floats:
    """``(n, *space)`` displacement of about ``size`` along each axis, smooth over ``scale``."""
    result = np.empty((len(grid.shape), *grid.shape), np.float32)
    for axis in range(len(grid.shape)):
        np.multiply(field(grid, scale, rng), np.float32(size), out=result[axis])
    return result


@njit(cache=True, nogil=True)
def _interpolate(rows: NDArray[np.float32], at: NDArray[np.float64]) -> NDArray[np.float32]:
    """Cubic B-spline along the middle axis at positions ``at`` in knots."""
    before, knots, after = rows.shape
    result = np.empty((before, len(at), after), np.float32)
    for i in range(len(at)):
        first = int(np.floor(at[i])) - 1
        t = np.float32(at[i] - np.floor(at[i]))
        one = np.float32(1)
        w0 = (one - t) ** 3 / np.float32(6)
        w3 = t**3 / np.float32(6)
        w1 = np.float32(2 / 3) - t * t * (one - t / np.float32(2))
        w2 = one - w0 - w1 - w3
        # The last knot may lie one behind the array where its weight is 0.
        last = min(first + 3, knots - 1)
        for b in range(before):
            for a in range(after):
                result[b, i, a] = (
                    w0 * rows[b, first, a] + w1 * rows[b, first + 1, a]
                    + w2 * rows[b, first + 2, a] + w3 * rows[b, last, a]
                )  # fmt: skip
    return result
