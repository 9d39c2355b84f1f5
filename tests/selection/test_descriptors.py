"""Descriptors tell images of different kinds apart, and not images of one kind."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.io import Image
from unmask.selection.descriptors import describe


def dots(shape, width, *, seed, bright=True):
    """Blobs of one width at random places."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    axes = np.indices(shape)
    for _ in range(8):
        place = rng.uniform(0, 1, len(shape)) * shape
        squares = sum((a - c) ** 2 for a, c in zip(axes, place, strict=True))
        image += np.exp(-squares / (2 * width**2))
    image += rng.normal(0, 0.02, shape)
    return image if bright else 2 - image


def vector(array):
    return describe(Image.from_array(array, ndim=array.ndim))


@pytest.mark.parametrize("shape", [(96, 96), (24, 32, 32)], ids=["2d", "3d"])
def test_sizes_and_polarity_are_told_apart(shape):
    same = [vector(dots(shape, 2, seed=seed)) for seed in (1, 2)]
    large = vector(dots(shape, 6, seed=3))
    dark = vector(dots(shape, 2, seed=4, bright=False))
    near = np.linalg.norm(same[0] - same[1])
    assert np.linalg.norm(same[0] - large) > 2 * near
    assert np.linalg.norm(same[0] - dark) > 2 * near


def test_color_is_told_from_gray():
    gray = np.repeat(dots((64, 64), 3, seed=1)[..., None], 3, axis=-1)
    color = gray.copy()
    color[..., 0] *= 0.3
    first, second = (describe(Image.from_array(each, axes="YXC")) for each in (gray, color))
    assert not np.allclose(first[-4:], second[-4:], atol=0.05)


@pytest.mark.parametrize(
    "array",
    [np.zeros((9, 9)), np.zeros((1, 1), np.uint8), np.full((5, 1, 7), 3, np.int16)],
    ids=["constant", "one_voxel", "thin"],
)
def test_odd_images_have_finite_descriptors(array):
    assert np.isfinite(vector(array)).all()
    assert vector(array).shape == vector(np.zeros((8, 8))).shape
