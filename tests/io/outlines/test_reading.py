"""Outlines of other programs, and what is wrong with some of them."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import roifile
from PIL import Image as Pillow

import unmask
from unmask.errors import DataError
from unmask.io import save_image
from unmask.io.outlines.fill import ellipse, fill

SHAPE = (10, 12)
SQUARE = [[2, 1], [6, 1], [6, 5], [2, 5]]  # x, y


def square() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 2:6] = 1
    return labels


def fail(line: str) -> None:
    raise AssertionError(line)


def polygons(*rings) -> dict:
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}}
            for ring in rings
        ],
    }


@pytest.fixture
def write(tmp_path):
    def put(content, name: str = "a.json"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return put


def read(path, shape=SHAPE, **more):
    notes: list[str] = []
    return unmask.read_outlines(path, shape, say=notes.append, **more), notes


def test_a_center_on_an_edge_belongs_to_one_side():
    left = fill([np.array([[0.5, 0.5], [0.5, 2.5], [2.5, 2.5], [2.5, 0.5]])], (4, 4))
    right = fill([np.array([[0.5, 2.5], [0.5, 3.5], [2.5, 3.5], [2.5, 2.5]])], (4, 4))
    both = np.zeros((4, 4), int)
    for filled in (left, right):
        (top, start), (height, width) = filled.corner, filled.mask.shape
        both[top : top + height, start : start + width] += filled.mask
    assert both.tolist() == [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_circle_has_its_area():
    filled = ellipse(np.array([50.0, 50.0]), np.eye(2) * 30, (100, 100))
    assert abs(filled.mask.sum() - np.pi * 900) < 10
    assert not ellipse(np.array([5.0, 5.0]), np.zeros((2, 2)), (9, 9)).mask.any()


def test_geojson_in_all_its_forms(write):
    tree = polygons(SQUARE)
    for form in (tree, tree["features"], tree["features"][0], tree["features"][0]["geometry"]):
        labels, notes = read(write(form, "a.geojson"))
        np.testing.assert_array_equal(labels, square())
        assert notes == []


def test_a_cell_of_qupath_has_a_nucleus_that_is_not_read(write):
    tree = polygons(SQUARE)
    tree["features"][0]["nucleusGeometry"] = tree["features"][0]["geometry"]
    labels, notes = read(write(tree))
    np.testing.assert_array_equal(labels, square())
    assert "1 cell has a nucleus" in notes[0]


def test_labelme(write):
    png = io.BytesIO()
    Pillow.fromarray(np.array([[True, False], [True, True]])).save(png, "PNG")
    tree = {
        "imageHeight": 10,
        "imageWidth": 12,
        "shapes": [
            {"label": "a", "shape_type": "polygon", "points": SQUARE, "group_id": None},
            {"label": "b", "shape_type": "rectangle", "points": [[8, 1], [11, 3]], "group_id": 4},
            {"label": "b", "shape_type": "rectangle", "points": [[11, 8], [8, 6]], "group_id": 4},
            {"label": "c", "shape_type": "circle", "points": [[3, 8], [3, 9]]},
            {"label": "d", "shape_type": "mask", "points": [[0, 0], [1, 1]],
             "mask": base64.b64encode(png.getvalue()).decode()},
        ],
    }  # fmt: skip
    labels, notes = read(write(tree), None)
    expected = square()
    expected[1:3, 8:11] = expected[6:8, 8:11] = 2
    expected[7:9, 2:4] = 3
    expected[0, 0] = expected[1, 0] = expected[1, 1] = 4
    np.testing.assert_array_equal(labels, expected)
    assert notes == []


def test_coco_polygons_and_several_images(write):
    flat = [number for corner in SQUARE for number in corner]
    size = {"height": 10, "width": 12}
    tree = {
        "images": [
            {"id": 5, "file_name": "x/a.png", **size},
            {"id": 9, "file_name": "b.png", **size},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "segmentation": [flat]},
            {"id": 2, "image_id": 5, "segmentation": {"size": [10, 12], "counts": [0, 120]}},
        ],
    }  # fmt: skip
    path = write(tree)
    np.testing.assert_array_equal(read(path, image="b.tif")[0], square())
    assert read(path, None, image="a")[0].all()
    with pytest.raises(DataError, match="expected one image, found 2"):
        read(path)
    with pytest.raises(DataError, match=r"a file for \(10, 12\)"):
        read(path, (12, 10), image="a")
    with pytest.raises(DataError, match="an image named 'c'"):
        read(path, image="c")


def test_shapes_of_napari(write):
    rows = ["index,shape-type,vertex-index,axis-0,axis-1"]
    # napari's corners count from the center of a pixel.
    rows += [f"0,polygon,{k},{y - 0.5},{x - 0.5}" for k, (x, y) in enumerate(SQUARE)]
    corners = [(6.5, 6.5), (6.5, 8.5), (8.5, 8.5), (8.5, 6.5)]
    rows += [f"1,ellipse,{k},{y},{x}" for k, (y, x) in enumerate(corners)]
    labels, notes = read(write("\n".join(rows), "shapes.csv"))
    expected = square()
    expected[7:9, 7:9] = 2
    np.testing.assert_array_equal(labels, expected)
    assert notes == []
    rows = ["index,shape-type,vertex-index,axis-0,axis-1,axis-2"]
    rows += [f"0,polygon,{k},1,{y - 0.5},{x - 0.5}" for k, (x, y) in enumerate(SQUARE)]
    labels, _ = read(write("\n".join(rows), "shapes.csv"), (3, *SHAPE))
    np.testing.assert_array_equal(labels[1], square())
    assert not labels[[0, 2]].any()


def test_one_mask_per_object(tmp_path):
    for name in ("2", "10"):
        mask = np.zeros(SHAPE, np.uint8)
        mask[int(name) - 2 : int(name)] = 255
        save_image(tmp_path / "image" / "masks" / f"{name}.png", mask)
    for folder in (tmp_path / "image", tmp_path / "image" / "masks"):
        labels, notes = read(folder, None)
        assert labels[:, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 2, 2]
        assert notes == []
    save_image(tmp_path / "image" / "masks" / "3.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError, match="size of the other masks"):
        read(tmp_path / "image")


def test_ids_in_colors(tmp_path):
    ids = np.array([[0, 1, 256], [65536, 65793, 16777215]], np.uint32)
    colors = np.stack([ids >> 16, ids >> 8 & 255, ids & 255]).astype(np.uint8)
    save_image(tmp_path / "a.png", colors, axes="CYX")
    np.testing.assert_array_equal(read(tmp_path / "a.png", None)[0], ids)
    save_image(tmp_path / "a.jpg", colors, axes="CYX")
    with pytest.raises(DataError, match="changes colors"):
        read(tmp_path / "a.jpg", None)
    with pytest.raises(DataError, match=r"shape \(3, 2\)"):
        read(tmp_path / "a.png", (3, 2))


def roi(kind: str, name: str = "cell", **fields) -> roifile.ImagejRoi:
    made = roifile.ImagejRoi.frompoints(np.array(SQUARE), name=name)
    made.roitype = roifile.ROI_TYPE[kind]
    for field, value in fields.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
def test_rois_of_fiji(tmp_path, kind):
    roi(kind).tofile(tmp_path / "a.roi")
    labels, notes = read(tmp_path / "a.roi")
    np.testing.assert_array_equal(labels, square())
    assert notes == []


def test_rectangles_and_ovals(tmp_path):
    box = {
        "left": 2,
        "top": 1,
        "right": 6,
        "bottom": 5,
        "integer_coordinates": None,
        "n_coordinates": 0,
    }
    roi("RECT", **box).tofile(tmp_path / "a.roi")
    np.testing.assert_array_equal(read(tmp_path / "a.roi")[0], square())
    roi("OVAL", **box).tofile(tmp_path / "a.roi")
    labels, _ = read(tmp_path / "a.roi")
    assert labels.sum() == 12
    assert not labels[1, 2]


def test_names_that_are_numbers_are_ids(tmp_path):
    roifile.roiwrite(tmp_path / "a.zip", [roi("POLYGON", "40")])
    assert read(tmp_path / "a.zip")[0].max() == 40
    roifile.roiwrite(tmp_path / "b.zip", [roi("POLYGON", "0003-0004")])
    assert read(tmp_path / "b.zip")[0].max() == 1


def test_positions_in_a_stack(tmp_path):
    roi("POLYGON", position=2).tofile(tmp_path / "a.roi")
    labels, _ = read(tmp_path / "a.roi", (3, *SHAPE))
    np.testing.assert_array_equal(labels[1], square())
    with pytest.raises(DataError, match="a plane from 0 to 0"):
        read(tmp_path / "a.roi")
    roi("POLYGON").tofile(tmp_path / "a.roi")
    with pytest.raises(DataError, match="a plane from 0 to 2"):
        read(tmp_path / "a.roi", (3, *SHAPE))


@pytest.mark.parametrize("kind", ["POINT", "POLYLINE", "FREELINE", "ANGLE"])
def test_rois_without_area_are_refused(tmp_path, kind):
    roi(kind).tofile(tmp_path / "a.roi")
    with pytest.raises(DataError, match=rf"a\.roi.*cell \({kind.lower()}\)"):
        read(tmp_path / "a.roi")


def test_overlaps_are_reported_and_the_later_object_wins(write):
    other = [[x + 2, y] for x, y in SQUARE]
    labels, notes = read(write(polygons(SQUARE, other), "a.geojson"))
    assert (labels == 1).sum() == 8
    assert (labels == 2).sum() == 16
    assert "8 pixels are in more than one object" in notes[0]
    assert "a.geojson" in notes[0]


def test_crossing_outlines_are_reported(write):
    bow = [[1, 1], [9, 9], [9, 1], [1, 9]]
    labels, notes = read(write(polygons(bow)))
    assert "1 outline with crossing lines" in notes[0]
    assert 0 < labels.sum() < 64
    # A pentagram winds twice around its middle, which is outside.
    angles = np.arange(5) * 0.8 * np.pi
    star = np.stack([50 + 40 * np.cos(angles), 50 + 40 * np.sin(angles)], 1).tolist()
    labels, notes = read(write(polygons(star)), (100, 100))
    assert labels[50, 50] == 0
    assert "1 outline with crossing lines" in notes[0]


def test_outlines_that_leave_the_image(write):
    half = [[x - 4, y] for x, y in SQUARE]
    labels, notes = read(write(polygons(half)))
    np.testing.assert_array_equal(labels[1:5, :2], 1)
    assert labels.sum() == 8
    assert "1 outline cut at the border of the image" in notes[0]
    far = [[x + 1e9, y] for x, y in SQUARE]
    with pytest.raises(DataError, match=r"a\.json, feature 2.*outside of it"):
        read(write(polygons(SQUARE, far)))


def test_outlines_too_small_for_a_pixel_are_reported(write):
    labels, notes = read(write(polygons([[1.1, 1.1], [1.3, 1.1], [1.3, 1.3]], SQUARE)))
    assert labels.max() == 2
    assert "1 outline lost, with no center of a pixel inside: feature 1" in notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "expected JSON"),
        ("a.json", "3", "entry 1: int"),
        ("a.json", {"a": 1}, "None"),
        ("a.geojson", {"type": "Point", "coordinates": [1, 2]}, "a Point"),
        ("a.geojson", {"type": "Polygon", "coordinates": [["a"]]}, "not numbers"),
        ("a.geojson", {"type": "Polygon", "coordinates": []}, "without coordinates"),
        ("a.geojson", {"type": "Polygon", "coordinates": [[[1, 1], [2, 2]]]}, "three corners"),
        ("a.geojson", {"type": "Polygon", "coordinates": [[[1, 1], [2, 2], [1, None]]]}, "finite"),
        ("a.json", {"shapes": [{"points": [[1, 1], [2, 2]], "shape_type": "line"}]}, "a line"),
        ("a.json", {"images": [{"id": 1}], "annotations": []}, "height"),
        ("a.csv", "a,b\n1,2\n", "other columns"),
        ("a.csv", "", "no rows"),
        ("a.roi", b"Iout", "outlines"),
        ("a.zip", b"PK", "outlines"),
        ("a.svg", "<svg/>", "'.svg'"),
    ],
)
def test_damaged_files_are_named(write, name, content, message):
    with pytest.raises(DataError, match=rf"(?s)^[^\n]*{name}.*{message}"):
        read(write(content, name))


def test_missing_files_and_shapes(write, tmp_path):
    with pytest.raises(DataError, match="expected a file or folder"):
        read(tmp_path / "none.zip")
    with pytest.raises(DataError, match="does not say it"):
        read(write(polygons(SQUARE)), None)
