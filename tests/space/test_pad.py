"""Values beyond an image are those of ``numpy.pad``, in any number of axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unmask.space.box import Box
from unmask.space.pad import pad_box, pad_reads

NAMES: dict[str, Any] = {"mirror": "symmetric", "reflect": "reflect", "zero": "constant"}
BOXES = [
    ((7,), (-3,), (9,)),
    ((5, 6), (-4, 2), (5, 8)),
    ((3, 4, 5), (-8, -9, 1), (4, 11, 4)),
    ((1, 4), (-2, -1), (3, 6)),
]


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize(("space", "start", "stop"), BOXES)
def test_values_are_those_of_numpy(mode, space, start, stop):
    image = np.random.default_rng(0).random((2, *space))
    box = Box(start, stop)
    inside = box.clip(Box.of(space))
    sides = zip(start, inside.start, inside.stop, stop, strict=True)
    widths = [(0, 0), *((low - first, last - high) for first, low, high, last in sides)]
    part = image[:, *inside.slices]
    wanted = np.pad(part, widths, mode=NAMES[mode])
    np.testing.assert_array_equal(pad_box(part, inside, box, mode=mode), wanted)


@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize(("space", "start", "stop"), BOXES)
def test_reads_are_parts_of_the_padded_image(mode, space, start, stop):
    image = np.random.default_rng(0).random((2, *space))
    padded = np.pad(image, [(0, 0), *[(20, 20)] * len(space)], mode=NAMES[mode])
    read = pad_reads(lambda box: image[:, *box.slices], space, mode=mode)
    box = Box(start, stop)
    np.testing.assert_array_equal(read(box), padded[:, *box.shift((20,) * len(space)).slices])


@pytest.mark.parametrize("mode", ["mirror", "reflect"])
def test_a_box_outside_the_image_mirrors_what_is_not_in_it(mode):
    image = np.arange(10.0)[None]
    read = pad_reads(lambda box: image[:, *box.slices], (10,), mode=mode)
    found = read(Box((-5,), (-2,)))[0]
    assert found.tolist() == ([4, 3, 2] if mode == "mirror" else [5, 4, 3])[: len(found)]


def test_a_box_inside_is_returned_as_it_is():
    part = np.ones((1, 3))
    box = Box((2,), (5,))
    assert pad_box(part, box, box, mode="zero") is part
