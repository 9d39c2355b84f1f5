"""Labels to outlines and back, read by the peers that others use."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import geojson
import numpy as np
import pytest
import roifile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from shapely.geometry import shape as shapely_shape

import unmask
from unmask.errors import DataError
from unmask.io.outlines import WRITTEN
from unmask.io.outlines.fill import fill
from unmask.io.outlines.rle import decode, encode, from_text, to_text
from unmask.io.outlines.trace import trace

RING = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 7, 7, 7, 0, 0],
        [0, 7, 0, 7, 0, 9],
        [0, 7, 7, 0, 7, 0],
        [0, 0, 0, 7, 7, 0],
        [3, 0, 0, 0, 0, 7],
    ],
    np.uint16,
)


def label_images(ndim: int = 2, side: int = 12):
    """Few ids on few pixels: holes, touching, broken and pinched objects, gaps between ids."""
    shapes = st.tuples(*[st.integers(1, side)] * ndim)
    ids = st.sampled_from([0, 0, 1, 2, 300])
    return shapes.flatmap(lambda shape: arrays(np.uint16, shape, elements=ids, fill=st.nothing()))


def all_rois(path):
    found = roifile.roiread(path)
    return found if isinstance(found, list) else [found]


def fail(line: str) -> None:
    raise AssertionError(line)


def test_a_square_has_four_corners():
    (outline,) = trace(np.pad(np.ones((2, 3), np.uint8), 1))
    np.testing.assert_array_equal(outline.rings[0], [[1, 1], [1, 4], [3, 4], [3, 1]])


@settings(max_examples=150)
@given(label_images())
def test_rings_are_simple_and_fill_to_the_same_pixels(labels):
    result = np.zeros_like(labels)
    for outline in trace(labels):
        for ring in outline.rings:
            assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)
        filled = fill([ring.astype(float) for ring in outline.rings], labels.shape)
        top, left = filled.corner
        height, width = filled.mask.shape
        result[top : top + height, left : left + width][filled.mask] = outline.id
        assert not filled.crossed
        assert not filled.clipped
    np.testing.assert_array_equal(result, labels)


@settings(max_examples=150)
@given(label_images())
def test_polygons_are_valid_and_have_the_area(labels):
    for outline in trace(labels):
        polygons = [[ring[:, ::-1].tolist() for ring in piece] for piece in outline.polygons]
        closed = [[[*ring, ring[0]] for ring in piece] for piece in polygons]
        found = shapely_shape({"type": "MultiPolygon", "coordinates": closed})
        assert found.is_valid, found
        assert found.area == (labels == outline.id).sum()


@pytest.mark.parametrize("suffix", sorted(WRITTEN.values()))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=label_images())
def test_three_formats_give_the_same_pixels(labels, suffix, tmp_path):
    path = unmask.write_outlines(tmp_path / f"cells{suffix}", labels)
    np.testing.assert_array_equal(unmask.read_outlines(path, labels.shape, say=fail), labels)


@pytest.mark.parametrize("suffix", [".zip", ".geojson"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=label_images(3, side=6))
def test_volumes_keep_their_planes(labels, suffix, tmp_path):
    path = unmask.write_outlines(tmp_path / f"cells{suffix}", labels)
    np.testing.assert_array_equal(unmask.read_outlines(path, labels.shape, say=fail), labels)


def test_coco_has_no_volumes(tmp_path):
    with pytest.raises(DataError, match="no volumes"):
        unmask.write_outlines(tmp_path / "a.json", np.ones((2, 3, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_roifile_reads_the_archive(tmp_path):
    path = unmask.write_outlines(tmp_path / "cells.zip", RING)
    rois = {roi.name: roi for roi in all_rois(path)}
    assert set(rois) == {"3", "7", "9"}
    assert zipfile.ZipFile(path).testzip() is None
    np.testing.assert_array_equal(rois["3"].coordinates(), [[0, 5], [1, 5], [1, 6], [0, 6]])
    assert len(rois["7"].coordinates(multi=True)) == len(trace(RING)[1].rings) == 4
    assert (rois["7"].left, rois["7"].top, rois["7"].right, rois["7"].bottom) == (1, 1, 6, 6)


def test_coordinates_beyond_16_bits(tmp_path):
    labels = np.zeros((3, 70_000), np.uint8)
    labels[1, 66_000:69_000] = 5
    labels[:, 40_000:40_002] = 6
    labels[1, 40_001] = 0
    path = unmask.write_outlines(tmp_path / "a.zip", labels)
    np.testing.assert_array_equal(unmask.read_outlines(path, labels.shape), labels)


def test_qupath_reads_the_features(tmp_path):
    path = unmask.write_outlines(
        tmp_path / "cells.geojson", RING, measurements={7: {"area": 11.0, "none": float("nan")}}
    )
    collection = geojson.loads(path.read_text())
    assert collection.is_valid
    features = {feature["properties"]["name"]: feature for feature in collection["features"]}
    assert features["7"]["geometry"]["type"] == "MultiPolygon"
    assert features["3"]["geometry"]["type"] == "Polygon"
    assert features["7"]["properties"]["measurements"] == {"area": 11.0}
    assert {feature["properties"]["objectType"] for feature in features.values()} == {"detection"}
    assert shapely_shape(features["7"]["geometry"]).area == (RING == 7).sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=100)
@given(label_images())
def test_pycocotools_decodes_the_same_masks(labels):
    height, width = labels.shape
    ids, runs = encode(labels)
    for key, counts in zip(ids, runs, strict=True):
        text = to_text(counts)
        entry: Any = {"size": [height, width], "counts": text}
        np.testing.assert_array_equal(coco_mask.decode(entry), labels == key)
        assert (
            coco_mask.encode(np.asfortranarray(labels == key, np.uint8))["counts"] == text.encode()
        )
        np.testing.assert_array_equal(from_text(text), counts)
        (top, left), mask = decode(counts, height)
        full = np.zeros_like(labels, bool)
        full[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        np.testing.assert_array_equal(full, labels == key)


def test_coco_boxes_and_areas(tmp_path):
    path = unmask.write_outlines(tmp_path / "cells.json", RING)
    tree = json.loads(path.read_text())
    assert tree["images"] == [{"id": 1, "file_name": "cells", "height": 6, "width": 6}]
    for each in tree["annotations"]:
        entry = each["segmentation"]
        assert each["bbox"] == coco_mask.toBbox(entry).tolist()
        assert each["area"] == coco_mask.area(entry)
    assert [each["label"] for each in tree["annotations"]] == [3, 7, 9]


def test_wrong_requests(tmp_path):
    with pytest.raises(DataError, match=r"\.zip \.geojson \.json"):
        unmask.write_outlines(tmp_path / "a.svg", RING)
    with pytest.raises(DataError, match="unsigned labels"):
        unmask.write_outlines(tmp_path / "a.zip", RING.astype(int))
    assert list(tmp_path.iterdir()) == []


def test_no_object(tmp_path):
    empty = np.zeros((4, 5), np.uint8)
    for suffix in WRITTEN.values():
        path = unmask.write_outlines(tmp_path / f"a{suffix}", empty)
        np.testing.assert_array_equal(unmask.read_outlines(path, (4, 5), say=fail), empty)
