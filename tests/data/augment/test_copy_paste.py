"""Objects of other samples in a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from unmask.data.augment.apply import augment
from unmask.data.augment.copy_paste import CopyPaste
from unmask.errors import RecipeError
from unmask.phantoms import draw
from unmask.space.random import generator

SHAPES = {2: (64, 64), 3: (24, 40, 40)}


def batch(ndim, size=3):
    samples = list(
        draw("nuclei", SHAPES[ndim], size, options={"diameter": (8.0, 8.0), "density": (0.3, 0.3)})
    )
    images = np.stack([s.image for s in samples]).astype(np.float32) / 255
    return torch.from_numpy(images), torch.from_numpy(
        np.stack([s.labels for s in samples]).astype(np.int64)
    )


def count_pieces(mask: np.ndarray) -> int:
    labeled: Any = ndimage.label(mask)
    return labeled[1]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("size", [1, 3])
def test_objects_are_added_with_numbers_of_their_own(ndim, size):
    images, labels = batch(ndim, size)
    rngs = [generator(3, "augment", n) for n in range(size)]
    part = CopyPaste(count=(4, 9), p=1.0)
    mixed, ids = augment(images, labels, rngs, crop=SHAPES[ndim], parts=[part])
    assert ids is not None
    added = 0
    for before, after in zip(labels, ids, strict=True):
        known, now = set(before.unique().tolist()), set(after.unique().tolist())
        added += len(now - known)
        assert all(new > max(known) for new in now - known)
        # No object that was whole has fallen into pieces, and none is a sliver.
        for value in now & known - {0}:
            left, whole = (after == value).numpy(), (before == value).numpy()
            assert count_pieces(left) == count_pieces(whole)
            assert left.sum() >= 0.5 * whole.sum()
    assert added >= size
    changed = (mixed != images).any(dim=1)
    assert changed[ids != labels].float().mean() > 0.9


def test_classes_keep_their_values():
    images, labels = batch(2)
    classes = (labels > 0).long() * 2
    part = CopyPaste(labels="classes", p=1.0)
    _, mixed = part.mix(images, classes, [1, 2, 3])
    assert set(mixed.unique().tolist()) == {0, 2}
    assert (mixed > 0).sum() > (classes > 0).sum()


def test_wrong_options_are_refused():
    with pytest.raises(RecipeError, match="copy_paste"):
        CopyPaste(visible=2.0)
    with pytest.raises(RecipeError, match="count"):
        CopyPaste(count=(5, 2))
    images, _ = batch(2, 1)
    with pytest.raises(RecipeError, match="expected labels"):
        augment(images, None, [generator(0, "a", 0)], crop=(64, 64), parts=[CopyPaste()])
