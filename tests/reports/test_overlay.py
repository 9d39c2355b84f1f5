"""Outlines have the colors of the verdicts, and pictures a bounded size."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image as Pillow

from unmask.metrics.overlap_table import overlap
from unmask.reports.fates import Fate, judge
from unmask.reports.overlay import COLORS, differences, jpeg, middle_plane, outline, render_rgb


def test_outlines_show_what_became_of_each_object():
    truth, predicted = np.zeros((2, 40, 60), np.int32)
    truth[5:15, 5:15] = predicted[5:15, 6:15] = 1
    truth[5:15, 25:35] = 2
    predicted[25:35, 5:15] = 3
    objects = overlap(truth, predicted).objects
    picture = outline(np.zeros((40, 60, 3), np.uint8), truth, predicted, objects, judge(objects))
    assert tuple(picture[5, 10]) == COLORS[Fate.FOUND]
    assert tuple(picture[5, 30]) == COLORS[Fate.MISSED]
    assert tuple(picture[25, 10]) == COLORS[Fate.EXTRA]
    assert tuple(picture[10, 10]) == (0, 0, 0)
    assert tuple(picture[38, 58]) == (0, 0, 0)


def test_wrong_classes_are_tinted():
    truth, predicted = np.zeros((2, 10, 30), np.uint8)
    truth[:, :10] = 1
    predicted[:, 5:20] = 2
    picture = differences(np.zeros((10, 30, 3), np.uint8), truth, predicted)
    assert picture[5, 2].any()
    assert picture[5, 12].any()
    assert not picture[5, 25].any()
    assert tuple(picture[5, 2]) != tuple(picture[5, 12])


def test_the_plane_with_most_objects_is_shown():
    labels = np.zeros((5, 8, 8), np.uint8)
    labels[3, 2:6, 2:6] = 1
    labels[1, 2, 2] = 1
    assert middle_plane(labels) == (3, slice(None), slice(None))
    assert middle_plane(np.zeros((5, 8, 8), np.uint8))[0] == 2
    assert middle_plane(labels[0]) == (slice(None), slice(None))


def test_pictures_are_small_and_small_images_are_enlarged():
    for space, size in (
        ((64, 64), (384, 384)),
        ((3000, 1500), (210, 420)),
        ((300, 300), (300, 300)),
    ):
        data = jpeg(np.zeros((*space, 3), np.uint8))
        assert Pillow.open(io.BytesIO(data)).size == size


def test_constant_and_many_channels_are_shown():
    assert render_rgb(np.full((1, 4, 4), 7, np.uint16)).shape == (4, 4, 3)
    assert render_rgb(np.zeros((5, 4, 4))).shape == (4, 4, 3)
    assert render_rgb(np.zeros((2, 4, 4))).shape == (4, 4, 3)
