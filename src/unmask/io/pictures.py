"""Tell pictures from label images by their pixels, whatever their names say."""

from __future__ import annotations

import numpy as np

# More values than classes have; runs in voxels that pictures do not reach; share of a picture.
CLASSES, SHORT, COVERED = 16, 4.0, 0.2
# Connected pieces per value: a few in labels, because planes cut objects and touching classes
# repeat; at least 8 in the pictures of 17 data sets, and mostly hundreds.
_SCATTERED = 2.0
# Runs of labels in voxels.
_LONG = 3.0
# Pixels per axis that are looked at: sorting those of a whole slide would take long.
_SIDE = 1024


def mean_run(values: np.ndarray) -> float:
    """Mean number of equal values in a row along the last axis, without runs of 0.

    Examples:
        >>> mean_run(np.array([0, 3, 3, 3, 5]))
        2.0
    """
    used = values != 0
    begins = used.copy()
    begins[..., 1:] &= values[..., 1:] != values[..., :-1]
    return float(used.sum() / max(1, begins.sum()))


def looks_like_picture(ids: np.ndarray) -> bool:
    """Whether ids are the gray values or colors of a picture: many, and each in many places.

    The most frequent value is set aside: pictures of tissue have a white background.

    Args:
        ids: ``(y, x)`` or ``(z, y, x)``, integers; the middle decides.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> looks_like_picture(rng.integers(0, 255, (32, 32)))
        True
        >>> looks_like_picture(np.kron(np.arange(64).reshape(8, 8), np.ones((4, 4), int)))
        False
        >>> looks_like_picture(np.arange(900).reshape(30, 30))
        False
    """
    plane = _plane(ids)
    values, counts = np.unique(plane, return_counts=True)
    if len(values) <= CLASSES:
        return False
    rest = np.where(plane == values[counts.argmax()], 0, plane)
    return bool(
        max(mean_run(rest), mean_run(rest.T)) < SHORT
        and np.count_nonzero(rest) > COVERED * rest.size
        and _pieces(rest) > _SCATTERED * (len(values) - 1)
    )


def looks_like_labels(pixels: np.ndarray) -> bool:
    """Whether pixels are areas of one number each: classes, or objects in one piece.

    Args:
        pixels: ``(y, x)`` or ``(z, y, x)``; the middle decides.

    Examples:
        >>> looks_like_labels(np.kron(np.arange(64).reshape(8, 8), np.ones((4, 4), int)))
        True
        >>> looks_like_labels(np.random.default_rng(0).integers(0, 255, (32, 32)))
        False
        >>> looks_like_labels(np.zeros((8, 8)))
        False
    """
    plane = _plane(pixels)
    values = np.unique(plane[plane != 0])
    if not len(values) or min(mean_run(plane), mean_run(plane.T)) < _LONG:
        return False
    return len(values) <= CLASSES or _pieces(plane) <= _SCATTERED * len(values)


def _plane(array: np.ndarray) -> np.ndarray:
    """The middle of the middle plane."""
    while array.ndim > 2:
        array = array[len(array) // 2]
    y, x = (slice(max(0, length - _SIDE) // 2, (length + _SIDE + 1) // 2) for length in array.shape)
    return array[y, x]


def _pieces(plane: np.ndarray) -> int:
    """Connected areas of one value each, without those of 0."""
    from skimage.measure import label  # Predictions come here without need for it.

    codes = np.unique(plane, return_inverse=True)[1].reshape(plane.shape) + 1  # numbers of any type
    codes[plane == 0] = 0
    return int(np.asarray(label(codes, connectivity=1, background=0)).max(initial=0))
