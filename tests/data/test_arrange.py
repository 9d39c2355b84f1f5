"""Where images and labels are in a folder, by names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unmask.data.arrange import _words, arrange, images_of, labels_in
from unmask.data.channel_files import join_channels
from unmask.errors import DataError
from unmask.io import save_image
from unmask.io.inputs import as_inputs

IMAGE_NAMES = ["images", "Images", "img", "raw", "imagesTr", "JPEGImages", "input", "cell_images"]
LABEL_NAMES = ["masks", "Labels", "label_images", "gt", "ground_truth", "annotations",
               "SegmentationObject", "nuclei-masks", "labelsTr"]  # fmt: skip


def put(*paths):
    for path in paths:
        save_image(path, np.eye(8, dtype=np.uint8))


@pytest.mark.parametrize("images", IMAGE_NAMES)
@pytest.mark.parametrize("labels", LABEL_NAMES)
def test_usual_names_of_folders(tmp_path, images, labels):
    put(tmp_path / images / "a.png", tmp_path / labels / "a.png", tmp_path / "results" / "a.png")
    found = arrange(tmp_path)
    assert (found.images, found.labels) == (str(tmp_path / images), str(tmp_path / labels))
    assert len(found.notes) == 1
    assert images_of(tmp_path) == found.images
    assert labels_in(tmp_path) == found.labels


def test_what_is_given_is_taken(tmp_path):
    root = tmp_path / "d"
    put(root / "a.png", root / "masks" / "a.png", root / "other" / "a.png")
    assert arrange(root / "a.png").images == root / "a.png"
    assert arrange(root, root / "other").labels == str(root / "other")
    assert arrange([root, tmp_path]).images == [root, tmp_path]
    array = np.eye(8)
    assert arrange(array).images is array
    assert images_of(root) == root
    put(root / "x" / "images" / "a.png", root / "x" / "masks" / "a.png")
    assert arrange(root / "x", root / "other").images == str(root / "x" / "images")
    assert arrange(root / "x", root / "x").labels == str(root / "x" / "masks")
    assert arrange(root / "x" / "images", root / "x").labels == str(root / "x" / "masks")


def test_the_plainest_name_wins(tmp_path):
    put(*(tmp_path / name / "a.png" for name in ("images", "masks", "masks_old")))
    assert arrange(tmp_path).labels == str(tmp_path / "masks")
    put(tmp_path / "labels" / "a.png")
    with pytest.raises(DataError, match="Choose one: --labels"):
        arrange(tmp_path)
    # Only verbs that need labels have to choose.
    assert images_of(tmp_path) == str(tmp_path / "images")
    assert arrange(tmp_path, tmp_path / "masks").images == str(tmp_path / "images")


@pytest.mark.parametrize(
    ("train", "val", "test"), [("train", "val", "test"), ("Training", "Validation", "Testing")]
)
@pytest.mark.parametrize("first", [True, False])
def test_divisions(tmp_path, train, val, test, first):
    for part in (train, val, test):
        for kind in ("images", "masks"):
            put(tmp_path / (Path(part) / kind if first else Path(kind) / part) / "a.png")
    found = arrange(tmp_path)
    folders = [found.images, found.labels, found.val_images, found.val_labels]
    parts = [(train, "images"), (train, "masks"), (val, "images"), (val, "masks")]
    assert folders == [str(tmp_path.joinpath(*(p if first else p[::-1]))) for p in parts]
    assert len(found.left_out) == 1
    for one in (images_of, labels_in):
        with pytest.raises(DataError, match="divided into"):
            one(tmp_path)


def test_folders_that_name_part_and_kind(tmp_path):
    for part in ("train", "val", "test"):
        for kind in ("images", "masks"):
            put(tmp_path / f"{part}_{kind}" / "a.png")
    found = arrange(tmp_path)
    assert found.images == str(tmp_path / "train_images")
    assert found.val_labels == str(tmp_path / "val_masks")
    assert found.left_out == (str(tmp_path / "test_images"),)


def test_a_validation_without_labels_is_left_out(tmp_path):
    put(tmp_path / "train" / "a.png", tmp_path / "train" / "a_mask.png", tmp_path / "val" / "b.png")
    found = arrange(tmp_path)
    assert found.val_images is None
    assert found.left_out == (str(tmp_path / "val"),)


def test_masks_of_objects_are_one_label_image(tmp_path):
    for name in ("x", "y"):
        put(tmp_path / name / "images" / f"{name}.png")
        for number in range(3):
            mask = np.zeros((8, 8), np.uint8)
            mask[2 * number : 2 * number + 3] = 255
            save_image(tmp_path / name / "masks" / f"m{number}.png", mask)
    put(tmp_path / "z" / "images" / "z.png")
    found = arrange(tmp_path)
    assert [Path(str(path)).stem for path in as_inputs(found.images)] == ["x", "y", "z"]
    assert found.labels is not None
    first, _ = (each.open() for each in as_inputs(found.labels) if not isinstance(each, str))
    assert first.read()[0, :, 0].tolist() == [1, 1, 2, 2, 3, 3, 3, 0]
    assert "in more than one object" in first.meta["notes"][0]


def test_words():
    assert _words("imagesTs") == ["image", "ts"]
    assert _words("GT") == ["gt"]
    assert _words("ground-Truth 2") == ["ground", "truth", "2"]


def test_frames_of_a_movie_are_no_channels(tmp_path):
    files = [(f"m_{n:04d}", str(tmp_path / "frames" / f"m_{n:04d}.tif")) for n in range(3)]
    problems: list[str] = []
    assert join_channels(files, (), problems) == files
    assert join_channels(files, {"m_0000", "m_0001"}, problems) == files
    ((name, path),) = join_channels(files, {"m"}, problems)
    assert name == "m"
    assert path == str(tmp_path / "frames" / "m_000{0,1,2}.tif")
    assert problems == []
