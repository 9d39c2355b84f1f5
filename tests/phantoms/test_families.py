"""Every family of phantoms: exact, consistent, repeatable, of any size, in two and three axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unmask.errors import DataError, RecipeError
from unmask.io import open_image, open_labels
from unmask.phantoms import FAMILIES, draw, draw_one, family, write_phantoms

SHAPES = [(96, 96), (24, 40, 48)]
SCATTERED = [name for name in FAMILIES if hasattr(family(name), "count")]
every_family = pytest.mark.parametrize("name", FAMILIES)


def pieces(mask):
    return ndimage.label(mask, output=np.zeros(mask.shape, np.int32))


def assert_consistent(sample, kind, shape):
    """What holds for every phantom whatever is drawn."""
    assert sample.image.shape == (kind.channels, *shape)
    assert sample.image.dtype in (np.uint8, np.int16)
    assert sample.labels.shape == sample.classes.shape == shape
    assert sample.labels.dtype == np.uint16
    assert sample.classes.dtype == np.uint8
    assert sample.classes.max(initial=0) < len(kind.classes)
    numbers = np.unique(sample.labels)
    assert numbers[numbers > 0].tolist() == list(range(1, int(sample.labels.max(initial=0)) + 1))
    # An object is never background of the class map.
    assert np.all(sample.classes[sample.labels > 0] > 0)
    assert sample.crossings.shape[1:] == (2,)
    assert np.all(sample.crossings <= sample.labels.max(initial=0))


@every_family
@pytest.mark.parametrize("shape", SHAPES)
def test_truth_is_consistent_and_objects_are_connected(name, shape):
    kind = family(name)
    for index in range(2):
        sample = draw_one(name, shape, seed=1, index=index)
        assert_consistent(sample, kind, shape)
        assert len(sample.spacing) == len(shape)
        if not kind.pieces:
            boxes = ndimage.find_objects(sample.labels)
            for number, box in enumerate(boxes, start=1):
                assert pieces(sample.labels[box] == number) == 1


@every_family
@pytest.mark.parametrize(
    "shape", [(1, 1), (33, 70), (64, 5), (3, 17, 30), (1, 40, 40), (5, 6, 9, 8)]
)
def test_any_size(name, shape):
    assert_consistent(draw_one(name, shape, seed=2), family(name), shape)


@every_family
def test_images_depend_on_seed_and_index_alone(name):
    first = draw_one(name, (40, 48), seed=3, index=5)
    again = list(draw(name, (40, 48), 6, seed=3))[5]
    for part in ("image", "labels", "classes", "crossings"):
        np.testing.assert_array_equal(getattr(first, part), getattr(again, part))
    assert first.spacing == again.spacing
    for seed, index in ((3, 6), (4, 5)):
        other = draw_one(name, (40, 48), seed=seed, index=index)
        assert np.any(first.image != other.image)


@every_family
def test_diameters_differ_at_least_fourfold_and_stay_in_the_stated_range(name):
    low, high = family(name).diameter
    assert high >= 4 * low
    chosen = {"diameter": (24.0, 24.0)} if name not in ("worms", "fibers") else {}
    if not chosen:
        # The diameter of long objects is their width.
        chosen = {"diameter": (9.0, 9.0)}
    width = chosen["diameter"][0]
    sizes = []
    for index in range(8):
        sample = draw_one(name, (160, 160), seed=4, index=index, options=chosen)
        # Small particles lie in clouds between the large ones, whose diameter is stated.
        counted = sample.classes == 1 if name == "precipitates" else sample.classes > 0
        labels = np.where(counted, sample.labels, 0)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            if box is None or any(s.start == 0 or s.stop == 160 for s in box):
                continue
            mask = labels[box] == number
            if name == "leaves":
                # The diameter of a leaf is its length, and others cover a part of most of them.
                sizes.append(np.hypot(*mask.shape))
            elif name in ("worms", "fibers"):
                sizes.append(
                    2 * np.max(np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1))))
                )
            else:
                sizes.append(2 * np.sqrt(mask.sum() / np.pi))
    assert width / 2 <= np.median(sizes) <= 2 * width
    assert np.max(sizes) < 6 * width


@pytest.mark.parametrize("name", SCATTERED)
def test_no_object_and_a_single_one(name):
    empty = draw_one(name, (64, 64), options={"count": 0})
    assert not empty.labels.any()
    assert not empty.classes.any()
    assert empty.image.std() > 0
    numbers = [
        int(draw_one(name, (96, 96), seed=5, index=i, options={"count": 1}).labels.max())
        for i in range(6)
    ]
    # An object may lie at the border, of which too little is seen. A plant has one leaf here.
    most = 1 if name != "leaves" else 4
    assert max(numbers) >= 1
    assert max(numbers) <= most


@pytest.mark.parametrize(("name", "options"), [("crowded_nuclei", {"tissue": (0, 0)}),
                                               ("membranes", {"tissue": (0, 0)}),
                                               ("cytoplasm", {"cells": (0, 0)})])  # fmt: skip
def test_tissues_can_be_empty(name, options):
    assert not draw_one(name, (64, 64), options=options).labels.any()


@every_family
@pytest.mark.parametrize("shape", SHAPES)
def test_objects_can_be_told_from_their_surroundings(name, shape):
    """In at least half of the images some statistic of the picture differs with the truth."""
    seen = 0
    for index in range(6):
        sample = draw_one(name, shape, seed=6, index=index)
        image, labels = sample.image.astype(float), sample.labels
        edges = np.zeros(labels.shape, bool)
        for axis in range(labels.ndim):
            changed = np.diff(labels.astype(int), axis=axis) != 0
            edges |= np.insert(changed, 0, False, axis)
        inside = (labels > 0) & ~edges
        if inside.sum() < 20 or edges.sum() < 20:
            continue
        groups = [edges, inside, ~inside & ~edges]
        for channel in image:
            means = [channel[group].mean() for group in groups if group.sum() >= 20]
            if np.ptp(means) > 0.12 * channel.std():
                seen += 1
                break
    assert seen >= 3


@pytest.mark.parametrize("name", ["neurites", "mitochondria", "deep_nuclei", "organs_mr"])
def test_stacks_draw_their_spacing_and_obey_a_given_one(name):
    drawn = {draw_one(name, (6, 24, 24), seed=7, index=i).spacing for i in range(3)}
    assert len(drawn) == 3
    assert all(thick >= wide == high == 1 for thick, high, wide in drawn)
    given = draw_one(name, (6, 24, 24), seed=7, spacing=(3, 0.5, 0.5))
    assert given.spacing == (3.0, 0.5, 0.5)


def test_missing_sections_are_blank_and_keep_their_truth():
    sample = draw_one("neurites", (40, 32, 32), seed=8, options={"missing": 0.6})
    blank = np.ptp(sample.image[0].reshape(40, -1), axis=1) == 0
    assert 1 <= blank.sum() < 40
    assert all(sample.labels[z].any() for z in np.flatnonzero(blank))


def test_worms_report_which_one_lies_on_top():
    found = 0
    for index in range(6):
        sample = draw_one("worms", (128, 128), seed=9, index=index, options={"count": 12})
        for top, below in sample.crossings:
            assert top > below
            # The two meet: some voxel of one lies next to the other.
            touching = ndimage.binary_dilation(sample.labels == top, iterations=2)
            found += int(np.any(touching & (sample.labels == below)))
    assert found >= 6


def test_classes_of_families_that_have_several():
    parts = {"cytoplasm": {1, 2}, "em_tissue": {1, 2}, "axons": {1, 2}, "precipitates": {1, 2},
             "organs_mr": {1, 2, 3, 4, 5}, "organs_ct": {1, 2, 3, 4, 5}}  # fmt: skip
    for name, expected in parts.items():
        seen = set()
        for sample in draw(name, (128, 128), 8, seed=10):
            seen |= set(np.unique(sample.classes).tolist())
        assert expected <= seen, name


def test_objects_of_one_class_where_a_class_says_what_an_object_is():
    for name in ("precipitates", "organs_mr", "organs_ct"):
        for sample in draw(name, (96, 96), 4, seed=11):
            inside = sample.labels > 0
            pairs = np.unique(np.stack([sample.labels[inside], sample.classes[inside]]), axis=1)
            assert len(np.unique(pairs[0])) == pairs.shape[1]


def test_organs_in_ct_are_hounsfield_units():
    sample = draw_one("organs_ct", (128, 128), seed=12, options={"diameter": (30, 30)})
    assert sample.image.dtype == np.int16
    assert sample.image.min() >= -1024
    bone = np.concatenate([
        s.image[0][s.classes == 5] for s in draw("organs_ct", (128, 128), 8, seed=12)
    ])  # fmt: skip
    assert np.median(bone) > 250


def test_bad_requests_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match="two axes or more"):
        draw_one("nuclei", (32,))
    with pytest.raises(DataError, match="two axes or more"):
        draw_one("nuclei", (0, 32))
    with pytest.raises(RecipeError, match="Did you mean 'worms'"):
        draw_one("worm", (32, 32))
    with pytest.raises(RecipeError, match="diameter"):
        draw_one("worms", (32, 32), options={"diametre": (3, 4)})
    with pytest.raises(DataError, match="2 positive voxel sizes"):
        draw_one("worms", (32, 32), spacing=(1, 1, 1))
    with pytest.raises(DataError, match="1 or more"):
        write_phantoms(tmp_path, "worms", (32, 32), 0)


def test_own_family_from_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from unmask.phantoms.nuclei import Nuclei\n\n\nclass Mine(Nuclei):\n    pass\n",
        encoding="utf-8",
    )
    sample = draw_one(f"{path}:Mine", (40, 40))
    assert sample.labels.any()


def test_written_files_pair_by_stem(tmp_path):
    folder = write_phantoms(tmp_path / "set", "neurites", (4, 24, 24), 2, seed=13)
    names = {part: sorted(p.name for p in (folder / part).iterdir()) for part in
             ("images", "labels", "classes")}  # fmt: skip
    assert names["images"] == ["neurites_000.tif", "neurites_001.tif"]
    assert names["labels"] == names["classes"] == names["images"]
    sample = draw_one("neurites", (4, 24, 24), seed=13, index=1)
    image = open_image(folder / "images" / "neurites_001.tif", ndim=3)
    np.testing.assert_array_equal(image.read(), sample.image)
    assert image.spacing == pytest.approx(sample.spacing)
    labels = open_labels(folder / "labels" / "neurites_001.tif", ndim=3)
    np.testing.assert_array_equal(labels.read()[0], sample.labels)


def test_color_and_signed_images_are_written(tmp_path):
    for name, channels in (("stained_tissue", 3), ("organs_ct", 1)):
        folder = write_phantoms(tmp_path / name, name, (24, 32), 1, seed=14)
        image = open_image(folder / "images" / f"{name}_000.tif", ndim=2)
        sample = draw_one(name, (24, 32), seed=14)
        assert image.shape == (channels, 24, 32)
        np.testing.assert_array_equal(image.read(), sample.image)
