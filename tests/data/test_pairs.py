import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from unmask.data.channel_choice import ChannelChoice
from unmask.data.pairs import (
    Layout,
    audit_pairs,
    check_finite,
    check_unchanged,
    fingerprint,
    open_pairs,
)
from unmask.errors import DataError
from unmask.io import save_image

PLANE = Layout(2)


def write(folder, names, shape=(8, 9), suffix=".tif", dtype=np.uint8):
    for number, name in enumerate(names):
        save_image(folder / f"{name}{suffix}", np.full(shape, number + 1, dtype))


def test_pairs_are_matched_by_stem_whatever_the_format(tmp_path):
    write(tmp_path / "images", ["b", "a"], suffix=".png")
    write(tmp_path / "labels", ["a", "b"])
    pairs = open_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    assert [pair.name for pair in pairs] == ["a", "b"]
    assert all(pair.labels is not None for pair in pairs)


def test_suffixes_are_left_out_of_names(tmp_path):
    write(tmp_path / "images", ["a_0000"])
    write(tmp_path / "labels", ["a_label"])
    layout = Layout(2, image_suffix="_0000", label_suffix="_label")
    assert open_pairs(tmp_path / "images", tmp_path / "labels", layout)[0].name == "a"


def test_all_problems_of_a_folder_come_at_once(tmp_path):
    write(tmp_path / "images", ["a", "b", "c", "d"])
    write(tmp_path / "labels", ["a", "e"])
    write(tmp_path / "labels", ["b"], shape=(9, 8))
    (tmp_path / "images" / "d.tif").write_bytes(b"<html>not an image</html>")
    save_image(tmp_path / "labels" / "d.tif", np.ones((8, 9), np.uint8))
    with pytest.raises(DataError) as error:
        open_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    message = str(error.value)
    assert "3 problems" in message
    assert "e.tif: expected an image named 'e'" in message
    assert "(8, 9), found (9, 8)" in message
    assert "d.tif" in message


def test_two_files_of_one_name_are_refused(tmp_path):
    write(tmp_path / "images", ["a"])
    write(tmp_path / "images", ["a"], suffix=".png")
    with pytest.raises(DataError, match="expected one file named 'a', found two"):
        open_pairs(tmp_path / "images", None, PLANE)


def test_a_volume_in_a_plane_recipe_says_what_to_do(tmp_path):
    save_image(tmp_path / "v.nii.gz", np.ones((4, 8, 8), np.uint8), spacing=(1, 1, 1))
    with pytest.raises(DataError, match="expected 2 spatial axes, found 3"):
        open_pairs(tmp_path / "v.nii.gz", None, PLANE)


def test_the_audit_reads_contents(tmp_path):
    bad = np.ones((8, 9), np.float32)
    bad[3, 4] = np.nan
    save_image(tmp_path / "images" / "bad.tif", bad)
    write(tmp_path / "images", ["flat"])
    audit = audit_pairs(tmp_path / "images", None, PLANE, read=True)
    assert [pair.name for pair in audit.pairs] == ["flat"]
    assert "first in channel 0 at y 3, x 4" in audit.problems[0]
    assert "all values are equal" in audit.notes[0]


def test_integers_are_always_finite():
    check_finite(np.zeros((1, 2), np.uint8), "a")
    with pytest.raises(DataError, match="a: expected finite values, found 1"):
        check_finite(np.array([[1.0, np.inf]]), "a")


def test_changed_files_are_noticed(tmp_path):
    write(tmp_path, ["a", "b"])
    pairs = open_pairs(tmp_path, None, PLANE)
    marks = fingerprint(pairs)
    check_unchanged(marks, pairs)
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    (tmp_path / "b.tif").unlink()
    with pytest.raises(DataError) as error:
        check_unchanged(marks, pairs)
    assert "a.tif" in str(error.value)
    assert "b.tif" in str(error.value)


@pytest.mark.parametrize(
    ("suffix", "side"), [("_label", "label"), ("-mask.v2", "label"), ("_raw", "image")]
)
def test_a_suffix_that_one_side_carries_is_found_and_told(tmp_path, suffix, side):
    write(tmp_path / "images", [name + suffix * (side == "image") for name in ("a", "b_1", "c")])
    write(tmp_path / "labels", [name + suffix * (side == "label") for name in ("a", "b_1", "c")])
    audit = audit_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    assert [pair.name for pair in audit.pairs] == ["a", "b_1", "c"]
    assert audit.problems == []
    assert any(f"data.{side}_suffix={suffix}" in note for note in audit.notes)
    assert [Path(p.labels.source).stem for p in audit.pairs if p.labels] == [
        name + suffix * (side == "label") for name in ("a", "b_1", "c")
    ]


def test_with_a_suffix_only_what_is_missing_is_told(tmp_path):
    write(tmp_path / "images", ["a", "b", "c"])
    write(tmp_path / "labels", ["a_label", "b_label"])
    audit = audit_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    assert [pair.name for pair in audit.pairs] == ["a", "b"]
    assert audit.problems == []
    assert audit.unlabeled == [str(tmp_path / "images" / "c.tif")]
    write(tmp_path / "labels", ["z"])
    audit = audit_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    assert any("z.tif: expected an image named 'z'" in problem for problem in audit.problems)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (["cell_1", "b"], ["cell_1_2", "c"]),  # another image's number
        (["a", "b", "c"], ["a", "b_label", "c_label"]),  # some names are equal
        (["a", "b", "c"], ["a_x", "b_y", "c_z"]),  # no common suffix
        (["a", "ab"], ["b", "abc"]),  # no sign before it
        (["a", "c"], ["b"]),
    ],
)
def test_nothing_is_guessed_where_names_do_not_say_it(tmp_path, images, labels):
    write(tmp_path / "images", images)
    write(tmp_path / "labels", labels)
    with pytest.raises(DataError, match=r"--set data\.label_suffix"):
        open_pairs(tmp_path / "images", tmp_path / "labels", PLANE)


def test_given_suffixes_are_taken_alone(tmp_path):
    write(tmp_path / "images", ["a"])
    write(tmp_path / "labels", ["a_label"])
    with pytest.raises(DataError, match=r"names of the 1 image,"):
        open_pairs(tmp_path / "images", tmp_path / "labels", Layout(2, label_suffix="_x"))


def test_the_longest_name_is_taken(tmp_path):
    write(tmp_path / "images", ["a", "a_b"])
    write(tmp_path / "labels", ["a_b_label"])
    audit = audit_pairs(tmp_path / "images", tmp_path / "labels", PLANE)
    assert [pair.name for pair in audit.pairs] == ["a_b"]


def volume(path, affine, shape=(4, 5, 6)):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.uint8), affine), path)


def test_labels_in_another_order_of_axes_are_turned_to_their_image(tmp_path):
    volume(tmp_path / "i.nii", np.diag([1.0, 2, 3, 1]))
    turned = np.array([[0, 0, -1.0, 3], [2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]])
    volume(tmp_path / "l.nii", turned, shape=(5, 6, 4))
    layout = Layout(3, image_suffix="i", label_suffix="l")
    pair = open_pairs(tmp_path / "i.nii", tmp_path / "l.nii", layout)[0]
    assert pair.labels is not None
    assert pair.labels.spacing == pair.image.spacing == (3, 2, 1)


@pytest.mark.parametrize("moved", [(0.6, 0, 0), (0, 0, -40)])
def test_labels_elsewhere_than_their_image_are_refused(tmp_path, moved):
    other = np.diag([1.0, 2, 3, 1])
    volume(tmp_path / "i" / "a.nii", other)
    other[:3, 3] = moved
    volume(tmp_path / "l" / "a.nii", other)
    with pytest.raises(DataError, match=r"l/a\.nii: expected the affine .*i/a\.nii.* voxels away"):
        open_pairs(tmp_path / "i", tmp_path / "l", Layout(3))


def test_headers_may_be_rounded(tmp_path):
    volume(tmp_path / "i" / "a.nii", np.diag([0.7, 0.7, 5, 1]))
    volume(tmp_path / "l" / "a.nii", np.diag([0.701, 0.699, 5.01, 1]))
    assert open_pairs(tmp_path / "i", tmp_path / "l", Layout(3))


@pytest.mark.parametrize("suffix", [".tif", ".nii"])
def test_labels_without_position_cannot_follow_a_turned_image(tmp_path, suffix):
    volume(tmp_path / "i" / "a.nii", np.diag([-1.0, 1, 1, 1]))
    save_image(tmp_path / "l" / f"a{suffix}", np.ones((6, 5, 4), np.uint8))
    with pytest.raises(DataError, match=r"l/a.*: expected an affine as .*i/a\.nii has"):
        open_pairs(tmp_path / "i", tmp_path / "l", Layout(3))
    volume(tmp_path / "i" / "a.nii", np.eye(4))
    assert open_pairs(tmp_path / "i", tmp_path / "l", Layout(3))


def test_the_first_value_that_is_not_finite_has_its_channel_in_the_file(tmp_path):
    bad = np.ones((3, 8, 9), np.float32)
    bad[2, 3, 4] = np.nan
    save_image(tmp_path / "bad.tif", bad, axes="CYX")
    rules = Layout(2, channels=ChannelChoice((1, 2)))
    audit = audit_pairs(tmp_path, None, rules, read=True)
    assert "first in channel 2 at y 3, x 4" in audit.problems[0]


@pytest.mark.parametrize("count", [3, 4])
def test_planes_that_a_file_calls_colors_are_noted(tmp_path, count):
    """tifffile writes an array of three or four planes as planar RGB by default."""
    planes = np.arange(count * 72).astype(np.uint8).reshape(-1, 8, 9)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    notes = audit_pairs(tmp_path, None, PLANE).notes
    assert f"its {count} planes are read as the colors of one image" in notes[0]
    assert not audit_pairs(tmp_path, None, Layout(2, axes="CYX")).notes
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    assert not audit_pairs(tmp_path, None, PLANE).notes
