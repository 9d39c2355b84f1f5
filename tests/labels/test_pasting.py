"""Objects cut out of one image and pasted into another."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.labels.pasting import cut_objects, paste_cutout, turn_cutout


def scene(ndim, *, level=10.0, bright=50.0):
    """A cube in the middle and one at the border."""
    labels = np.zeros((20,) * ndim, np.int64)
    labels[(slice(6, 12),) * ndim] = 3
    labels[(slice(0, 3),) * ndim] = 7
    return np.where(labels > 0, bright, level)[None].astype(np.float32), labels


@pytest.mark.parametrize("ndim", [2, 3])
def test_whole_objects_are_cut_and_pasted_on_a_ground_of_the_same_level(ndim):
    image, labels = scene(ndim)
    cutouts = cut_objects(image, labels)
    assert [(c.value, int(c.mask.sum())) for c in cutouts] == [(3, 6**ndim)]
    target = np.full((1, *(30,) * ndim), 100.0, np.float32)
    ids = np.zeros(target.shape[1:], np.int64)
    assert paste_cutout(target, ids, cutouts[0], (5,) * ndim, 9)
    assert int((ids == 9).sum()) == 6**ndim
    middle = tuple(np.argwhere(ids == 9).mean(axis=0).round().astype(int))
    # The object is 40 brighter than its ground, there as here.
    assert target[(0, *middle)] == pytest.approx(140, abs=1)
    assert target[(0, *(29,) * ndim)] == 100


def test_an_object_is_not_hidden_by_half_nor_cut_in_two():
    image, labels = scene(2)
    cutout = cut_objects(image, labels)[0]
    bar = np.zeros((30, 30), np.int64)
    bar[14:17, 2:28] = 1
    for corner in ((9, 7), (9, 0)):
        before = bar.copy()
        assert not paste_cutout(np.zeros((1, 30, 30), np.float32), bar, cutout, corner, 2)
        assert np.array_equal(bar, before)
    # A part of its end may be covered, and all of it without protection.
    assert paste_cutout(np.zeros((1, 30, 30), np.float32), bar, cutout, (9, -4), 2)
    assert paste_cutout(np.zeros((1, 30, 30), np.float32), bar, cutout, (9, 7), 3, visible=0)


def test_a_cutout_is_clipped_at_the_border_and_ignored_outside():
    image, labels = scene(2)
    cutout = cut_objects(image, labels)[0]
    ids = np.zeros((10, 10), np.int64)
    values = np.zeros((1, 10, 10), np.float32)
    assert not paste_cutout(values, ids, cutout, (50, 0), 1)
    assert paste_cutout(values, ids, cutout, (-6, -6), 1)
    assert 0 < int(ids.sum()) < 36


def test_pieces_of_classes_keep_their_class_and_ignored_voxels_are_left_out():
    labels = np.zeros((20, 20), np.int64)
    labels[2:5, 2:5] = labels[10:14, 2:5] = 1
    labels[10:14, 5:8] = 2
    labels[2:5, 12:15] = 255
    image = labels[None].astype(np.float32)
    cutouts = cut_objects(image, labels, connected=True, skip=(255,))
    assert sorted((c.value, int(c.mask.sum())) for c in cutouts) == [(1, 9), (1, 12), (2, 12)]


def test_a_turned_cutout_is_the_same_object():
    image, labels = scene(3)
    labels[6, 6, 6:10] = 0
    cutout = cut_objects(image, labels)[0]
    turned = turn_cutout(cutout, np.random.default_rng(1))
    assert turned.mask.sum() == cutout.mask.sum()
    assert turned.image[:, turned.mask].sum() == cutout.image[:, cutout.mask].sum()
