"""Annotations of other programs get one line that says what to do."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import list_files, open_labels, save_image
from unmask.io.foreign import advice, is_pickled_seg


def write(folder, name, content):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


COCO = {"images": [], "annotations": [], "categories": []}
LABELME = {"version": "5", "shapes": [], "imagePath": "a.png"}
GEOJSON = {"type": "FeatureCollection", "features": []}
NAPARI = "index,shape-type,vertex-index,axis-0,axis-1\n0,polygon,0,1.0,2.0\n"
OUTLINES = [
    ("a.geojson", GEOJSON, "GeoJSON"),
    ("a.roi", b"Iout" + bytes(60), "ImageJ"),
    ("RoiSet.zip", b"PK", "ImageJ"),
    ("coco.json", COCO, "COCO"),
    ("a.json", LABELME, "LabelMe"),
    ("a.json", GEOJSON, "GeoJSON"),
    ("a.json", [{"type": "Feature"}], "GeoJSON"),
    ("shapes.csv", NAPARI, "napari"),
]
KINDS = [
    ("a.zip", b"PK", "ZIP", "Extract it"),
    ("a_cp_outlines.txt", "1,2,3,4\n", "Cellpose", "Save masks"),
    ("a.xml", "<annotation/>", "XML", "label image"),
    ("a.mat", b"MATLAB", "MATLAB", "imwrite"),
    ("a.vsi", b"", "vendor", "OME-TIFF"),
    ("a.xyz", b"?", "suffix '.xyz'", "suffix of its format"),
]


@pytest.mark.parametrize(("name", "content", "what", "do"), KINDS)
def test_one_line_before_pairing(command, tmp_path, name, content, what, do):
    save_image(tmp_path / "images" / "a.png", np.eye(8, dtype=np.uint8))
    folder = tmp_path / "labels"
    folder.mkdir()
    path = write(folder, name, content)
    for given in (path, folder, f"{folder}/*"):
        answer = command("check", tmp_path / "images", "--labels", given, "--preset", "cells")
        assert answer.code == 2
        assert answer.out == ""
        assert len(answer.err.strip().splitlines()) == 1, answer.err
        if given == path or ".xyz" not in name:
            assert str(path) in answer.err
            assert what in answer.err
            assert do in answer.err


@pytest.mark.parametrize(("name", "content", "what"), OUTLINES)
def test_outlines_are_labels_not_images(command, tmp_path, name, content, what):
    path = write(tmp_path, name, content)
    answer = command("check", path, "--preset", "cells")
    assert answer.code == 2
    assert answer.out == ""
    assert len(answer.err.strip().splitlines()) == 1, answer.err
    for part in (str(path), what, "--labels"):
        assert part in answer.err


def test_a_zip_is_looked_into(tmp_path):
    for name, inside in (("a.zip", "0001.roi"), ("b.zip", "x.tif")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(inside, b"")
    rois, other = advice(tmp_path / "a.zip"), advice(tmp_path / "b.zip")
    assert rois is not None
    assert "ROIs" in rois[0]
    assert other is not None
    assert "ZIP" in other[0]


def test_state_of_cellpose_is_known_by_its_header(tmp_path):
    np.save(tmp_path / "a_seg.npy", {"masks": 1}, allow_pickle=True)  # pyright: ignore
    np.save(tmp_path / "b_seg.npy", np.eye(4, dtype=np.uint8))
    (tmp_path / "c_seg.npy").write_bytes(b"no array")
    assert [is_pickled_seg(tmp_path / f"{name}_seg.npy") for name in "abc"] == [True, False, False]
    assert len(list_files(tmp_path)) == 2
    with pytest.raises(DataError, match="Save masks as PNG/TIF"):
        open_labels(tmp_path / "a_seg.npy")
    assert advice(tmp_path / "b_seg.npy") is None


def test_other_files_next_to_images_do_no_harm(tmp_path):
    save_image(tmp_path / "a.png", np.eye(8, dtype=np.uint8))
    write(tmp_path, "a.geojson", GEOJSON)
    write(tmp_path, "readme.txt", "text")
    assert list_files(tmp_path) == [str(tmp_path / "a.png")]
