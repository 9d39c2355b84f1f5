"""Tell pictures from label images by their pixels, whatever their names say."""

from __future__ import annotations

import numpy as np

# More values than classes have; runs of pictures in voxels; share of a picture.
CLASSES, SHORT, COVERED = 16, 2.0, 0.3
# Pixels per value of a picture: objects of one pixel each have ids of their own.
_REPEATED = 1.2


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
    """Whether ids are the gray values or colors of a picture: many, and unlike their neighbors.

    The most frequent value is set aside: pictures of tissue have a white background. In pictures
    values repeat in other places, which ids of tiny objects do not.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> looks_like_picture(rng.integers(0, 255, (32, 32)))
        True
        >>> looks_like_picture(np.kron(np.arange(64).reshape(8, 8), np.ones((4, 4), int)))
        False
        >>> looks_like_picture(np.arange(900).reshape(30, 30))
        False
    """
    values, counts = np.unique(ids, return_counts=True)
    if len(values) <= CLASSES:
        return False
    rest = np.where(ids == values[counts.argmax()], 0, ids)
    many = np.count_nonzero(rest)
    repeated = many > _REPEATED * (len(values) - 1)
    short = mean_run(rest) < SHORT and mean_run(rest.swapaxes(-1, -2)) < SHORT
    return bool(repeated and short and many > COVERED * rest.size)
