"""Sums as pairs of float64, high and low part, which keep about 106 bits.

So a sum of pixel values does not depend on the order of the blocks, and a variance does not lose
digits for values far from 0. The error-free steps are Knuth's and Dekker's; see T. J. Dekker,
"A floating-point technique for extending the available precision" (1971).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unmask.kernels import njit


@njit(cache=True, nogil=True)
def add(high, low, value):  # pyright: ignore[reportMissingParameterType]
    """The pair plus one number."""
    total = high + value
    if not np.isfinite(total):
        return total, 0.0
    part = total - high
    low += (high - (total - part)) + (value - part)
    result = total + low
    return result, low - (result - total)


@njit(cache=True, nogil=True)
def multiply(a, b):  # pyright: ignore[reportMissingParameterType]
    """The product of two numbers as a pair, exact unless it leaves the range of float64."""
    product = a * b
    if not np.isfinite(product) or abs(a) > 1e290 or abs(b) > 1e290:
        return product, 0.0
    t = 134217729.0 * a
    a_high = t - (t - a)
    t = 134217729.0 * b
    b_high = t - (t - b)
    a_low, b_low = a - a_high, b - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    return product, error


@njit(cache=True, nogil=True)
def group_sums(index, count, high, low):  # pyright: ignore[reportMissingParameterType]
    """Sums of pairs ``(m, c)`` by ``index`` ``(m,)``: two arrays ``(count, c)``."""
    sums = np.zeros((2, count, high.shape[1]))
    for row in range(index.size):
        k = index[row]
        for c in range(high.shape[1]):
            a, b = add(sums[0, k, c], sums[1, k, c], high[row, c])
            sums[0, k, c], sums[1, k, c] = add(a, b, low[row, c])
    return sums[0], sums[1]


@njit(cache=True, nogil=True)
def variances(size, sums, squares):  # pyright: ignore[reportMissingParameterType]
    """Population variance of ``size`` numbers from pairs ``(2, k, c)`` of sums and squares."""
    _, count, channels = sums.shape
    found = np.empty((count, channels))
    for k in range(count):
        for c in range(channels):
            n = float(size[k])
            mean = sums[0, k, c] / n
            # The sum of (value - mean)^2, written out.
            high, low = squares[0, k, c], squares[1, k, c]
            product, error = multiply(-2.0 * mean, sums[0, k, c])
            high, low = add(high, low, product)
            high, low = add(high, low, error - 2.0 * mean * sums[1, k, c])
            product, error = multiply(mean, mean)
            high, low = add(high, low, n * error)
            product, error = multiply(n, product)
            high, low = add(high, low, product)
            high, low = add(high, low, error)
            found[k, c] = max(high / n, 0.0) if np.isfinite(high) else np.nan
    return found


def as_pairs(whole: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whole numbers as pairs."""
    high = whole.astype(float)
    return high, (whole - high.astype(np.int64)).astype(float)
