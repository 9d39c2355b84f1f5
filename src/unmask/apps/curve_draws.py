"""Draws of labeled images: nested, the same for every start, and with every kind of image.

One unlucky draw of two images can cost more than any method gains. So images are grouped by their
appearance, and every draw contains about the same share of each group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from scipy.cluster.vq import kmeans2

from unmask.data.pairs import Pair
from unmask.selection.descriptors import describe
from unmask.space.random import generator

# Largest number of kinds of images, and smallest mean number of images per kind.
_KINDS, _PER_KIND = 4, 3


def find_kinds(pairs: Sequence[Pair]) -> Int64[np.ndarray, " n"]:
    """Group images by their appearance; all are of kind 0 if there are fewer than six."""
    count = min(_KINDS, len(pairs) // _PER_KIND)
    if count < 2:
        return np.zeros(len(pairs), np.int64)
    values = np.stack([describe(pair.image) for pair in pairs]).astype(np.float64)
    deviation = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    if not deviation.any():
        return np.zeros(len(pairs), np.int64)
    rng = generator(0, "curve kinds")
    return kmeans2(scaled, count, minit="++", rng=rng, missing="warn")[1].astype(np.int64)


def order_images(kinds: Int64[np.ndarray, " n"], repeat: int) -> Int64[np.ndarray, " n"]:
    """Indices of all images in the order of a repeat; a smaller draw is a prefix of a larger one.

    Each prefix contains about the same share of each kind as the whole set.

    Examples:
        >>> kinds = np.array([0, 0, 0, 0, 1, 1])
        >>> [int((kinds[order_images(kinds, repeat)[:3]] == 1).sum()) for repeat in range(4)]
        [1, 1, 1, 1]
    """
    order = generator(repeat, "curve").permutation(len(kinds))
    position = np.zeros(len(kinds))
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds[order] == kind)
        position[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    # Positions that are equal keep the random order.
    return order[np.argsort(position, kind="stable")]
