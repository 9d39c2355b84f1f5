"""Sizes of training objects: measured on labels, kept in a card."""

from __future__ import annotations

import json

import numpy as np
import pytest

import unmask.data.diameters as module
from unmask.data.diameters import ObjectDiameters, measure_diameters
from unmask.data.pairs import Pair
from unmask.io import Image


def pair(labels: np.ndarray, **options) -> Pair:
    image = Image.from_array(np.zeros(labels.shape, np.uint8), ndim=labels.ndim, **options)
    return Pair("a", image, Image.from_array(labels, ndim=labels.ndim, **options))


def balls(ndim: int, radii, *, size: int = 40) -> np.ndarray:
    """One ball for each radius, next to each other along the last axis."""
    places = np.indices((size,) * ndim)
    parts = []
    for name, radius in enumerate(radii, 1):
        distance = sum((p - size / 2) ** 2 for p in places)
        parts.append(np.where(distance < radius**2, name, 0))
    return np.concatenate(parts, axis=-1).astype(np.uint16)


@pytest.mark.parametrize("ndim", [2, 3])
def test_diameters_are_those_of_the_balls(ndim):
    found = measure_diameters([pair(balls(ndim, [4, 8, 12]))])
    assert found is not None
    assert found.objects == 3
    assert found.median == pytest.approx(16, rel=0.07)
    assert found.low == pytest.approx(8.8, rel=0.12)
    assert found.high == pytest.approx(23.2, rel=0.07)
    assert found.spacing is None


def test_objects_at_the_border_count_only_if_there_are_no_others():
    labels = np.zeros((30, 30), np.int32)
    labels[:20, :20] = 1
    alone = measure_diameters([pair(labels)])
    assert alone is not None
    assert alone.median == pytest.approx(2 * (400 / np.pi) ** 0.5)
    labels[22:26, 22:26] = 2
    both = measure_diameters([pair(labels)])
    assert both is not None
    assert (both.objects, both.median) == (1, pytest.approx(2 * (16 / np.pi) ** 0.5))


def test_ignored_labels_and_empty_images_have_no_objects():
    labels = np.zeros((30, 30), np.int32)
    labels[5:9, 5:9] = 255
    assert measure_diameters([pair(labels)], ignore_label=255) is None
    assert measure_diameters([pair(np.zeros((9, 9), np.int32))]) is None
    assert measure_diameters([]) is None


def test_few_images_and_a_part_of_large_ones_are_read(monkeypatch):
    read: list[tuple[int, ...]] = []
    labels = pair(balls(2, [6, 6, 6])).labels
    assert labels is not None

    def fetch(index):
        read.append(tuple(part.stop - part.start for part in index))
        return labels.fetch(index)

    image = Image(labels.shape, labels.dtype, labels.axes, "a", "a", fetch)
    monkeypatch.setattr(module, "_VOXELS", 1000)
    measure_diameters([Pair(str(n), image, image) for n in range(1000)])
    assert 30 <= len(read) <= 64
    assert max(np.prod(shape) for shape in read) <= 1000


def test_physical_sizes_need_one_voxel_size_and_unit():
    labels = balls(2, [8])
    image = Image.from_array(labels, spacing=(0.5, 0.5))
    known = Image(image.shape, image.dtype, image.axes, "a", "a", image.fetch, (0.5, 0.5), "um")
    found = measure_diameters([Pair("a", known, known)])
    assert found is not None
    card = found.to_card()
    assert card["units"]["unit"] == "um"
    assert card["units"]["median"] == pytest.approx(card["pixels"]["median"] / 2, rel=1e-3)
    both = measure_diameters([Pair("a", known, known), pair(labels)])
    assert both is not None
    assert "units" not in both.to_card()


def test_a_card_is_read_back():
    sizes = ObjectDiameters(20.0, 8.0, 41.5, 12)
    assert ObjectDiameters.of_card(json.loads(json.dumps(sizes.to_card()))) == sizes


@pytest.mark.parametrize(
    "entry",
    [None, 3, {}, {"pixels": 4}, {"pixels": {"median": 0, "p5": 1, "p95": 2}},
     {"pixels": {"median": "20", "p5": 1, "p95": 2}}, {"pixels": {"median": 3, "p5": 1}}],
)  # fmt: skip
def test_cards_of_another_form_have_no_sizes(entry):
    assert ObjectDiameters.of_card(entry) is None
