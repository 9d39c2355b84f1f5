"""Images and labels of one folder, files under several names, arrays."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unmask.data.pairing import Layout, image_files, match_files
from unmask.data.pairs import audit_pairs, open_pairs
from unmask.data.suffixes import derive, divide, divide_by
from unmask.errors import DataError
from unmask.io import save_image

PLANE = Layout(2)
NAMES = st.lists(st.text("abcxyz019", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)
SUFFIXES = st.sampled_from(
    ["_masks", "_mask", "_cp_masks", "_label", "_labels", "_gt", "-seg", "_segmentation", "_Mask",
     ".labels", "_nuclei_mask", "_annotation", "_instances"]
)  # fmt: skip


def write(folder, *names, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        array = np.full((6, 7), number + 1, np.uint8)
        save_image(folder / f"{name}{suffix}", array)
    return folder


def pairs_of(audit):
    return {p.name: Path(p.labels.source).stem for p in audit.pairs if p.labels is not None}


@pytest.mark.parametrize(
    "suffix", ["_masks", "_mask", "_cp_masks", "_label", "_labels", "_gt", "_seg", "-mask"]
)
def test_one_folder_is_read_by_the_suffix(tmp_path, suffix):
    write(tmp_path, "img_0", f"img_0{suffix}", "img_1", f"img_1{suffix}")
    audit = audit_pairs(tmp_path, tmp_path, PLANE)
    assert audit.problems == []
    assert pairs_of(audit) == {"img_0": f"img_0{suffix}", "img_1": f"img_1{suffix}"}
    assert any("in one folder" in note and repr(suffix) in note for note in audit.notes)


def test_labels_of_a_person_come_before_those_of_a_program(tmp_path):
    write(tmp_path, "a", "a_masks", "a_cp_masks", "a_flows", "b", "b_cp_masks")
    audit = audit_pairs(tmp_path, tmp_path, PLANE)
    assert audit.problems == []
    assert pairs_of(audit) == {"a": "a_masks", "b": "b_cp_masks"}
    assert any("a_cp_masks" in note and "a_flows" in note for note in audit.notes)
    audit = audit_pairs(tmp_path, tmp_path, Layout(2, label_suffix="_cp_masks"))
    assert pairs_of(audit) == {"a": "a_cp_masks", "b": "b_cp_masks"}
    audit = audit_pairs(tmp_path, tmp_path, Layout(2, label_suffix="_masks"))
    assert pairs_of(audit) == {"a": "a_masks"}
    assert audit.problems == []
    assert audit.unlabeled == [str(tmp_path / "b.png")]


def test_several_label_images_of_one_image_are_not_chosen_from(tmp_path):
    write(tmp_path, "a", "a_nuclei_mask", "a_cell_mask")
    with pytest.raises(DataError, match=r"expected one label image, found a_cell_mask, a_nuclei"):
        open_pairs(tmp_path, tmp_path, PLANE)
    pairs = open_pairs(tmp_path, tmp_path, Layout(2, label_suffix="_cell_mask"))
    assert [pair.name for pair in pairs] == ["a"]


@pytest.mark.parametrize("layout", [PLANE, Layout(2, label_suffix="_gt")])
@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["cell", "cell_large"]])
def test_a_file_never_pairs_with_itself(tmp_path, names, layout):
    write(tmp_path, *names)
    audit = audit_pairs(tmp_path, tmp_path, layout)
    assert audit.pairs == []
    assert len(audit.problems) == len(names)
    assert all("found the image itself" in problem for problem in audit.problems)
    assert "x_masks.png" in audit.problems[0]


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_links_are_their_file(tmp_path, link):
    images = write(tmp_path / "i", "a", "b")
    labels = write(tmp_path / "l", "b")
    link(images / "a.png", labels / "a.png")
    audit = audit_pairs(images, labels, PLANE)
    assert list(pairs_of(audit)) == ["b"]
    assert len(audit.problems) == 1
    assert "l/a.png: expected two files, one of each side" in audit.problems[0]
    assert "i/a.png" in audit.problems[0]


def test_a_link_to_the_folder_and_other_spellings_are_the_folder(tmp_path):
    images = write(tmp_path / "i", "a", "b")
    (tmp_path / "l").symlink_to(images, target_is_directory=True)
    for labels in (tmp_path / "l", f"{images}/", images / ".." / "i", f"{images}/*.png"):
        audit = audit_pairs(images, labels, PLANE)
        assert audit.pairs == [], labels
    write(images, "a_masks", "b_masks")
    assert pairs_of(audit_pairs(images, tmp_path / "l", PLANE)) == {"a": "a_masks", "b": "b_masks"}


def test_only_the_labels_given_are_taken(tmp_path):
    write(tmp_path, "a", "a_masks", "b", "b_masks")
    audit = audit_pairs(tmp_path, tmp_path / "a_masks.png", PLANE)
    assert pairs_of(audit) == {"a": "a_masks"}
    assert audit.problems == []
    assert audit.unlabeled == [str(tmp_path / "b.png")]
    given = [tmp_path / "a.png", tmp_path / "b.png"]
    assert pairs_of(audit_pairs(given, tmp_path, PLANE)) == {"a": "a_masks", "b": "b_masks"}


def test_arrays_of_one_container_pair(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["seg"] = np.zeros((2, 6, 7), np.uint8)
    where = tmp_path / "a.h5"
    found = match_files(f"{where}:raw", f"{where}:seg", PLANE, problems := [])
    assert len(found) == 1
    assert problems == []
    assert match_files(f"{where}:raw", f"{where}:/raw", PLANE, problems) == []
    assert len(problems) == 1


def test_predictions_and_truth_are_divided_only_by_given_suffixes(tmp_path):
    write(tmp_path, "a", "a_masks", "a_cp_masks")
    match_files(tmp_path, tmp_path, PLANE, problems := [], notes=(notes := []), by_habit=False)
    assert problems == []
    assert sum("compared with itself" in note for note in notes) == 3
    layout = Layout(0, image_suffix="_cp_masks", label_suffix="_masks")
    found = match_files(tmp_path, tmp_path, layout, problems := [], by_habit=False)
    assert problems == []
    assert [(name, Path(str(p)).stem, Path(str(t)).stem) for name, p, t in found] == [
        ("a", "a_cp_masks", "a_masks")
    ]


def test_a_folder_of_images_leaves_labels_out_and_says_so(tmp_path):
    write(tmp_path, "a", "a_masks", "a_flows", "b_2", "b")
    found = image_files(tmp_path, notes := [])
    assert [name for name, _ in found] == ["a", "b", "b_2"]
    assert len(notes) == 1
    assert "2 files left out" in notes[0]
    # What is named is used.
    assert len(image_files(f"{tmp_path}/*.png", notes := [])) == 5
    assert notes == []


def test_outputs_of_a_program_need_no_partner(tmp_path):
    write(tmp_path / "i", "a", "a_cp_masks", "b")
    write(tmp_path / "l", "a", "b", "b_flows")
    audit = audit_pairs(tmp_path / "i", tmp_path / "l", PLANE)
    assert audit.problems == []
    assert sorted(pairs_of(audit)) == ["a", "b"]
    assert "a_cp_masks" in " ".join(audit.notes)
    assert "b_flows" in " ".join(audit.notes)


def test_state_of_cellpose_is_left_out_with_a_note(tmp_path):
    write(tmp_path, "a")
    np.save(tmp_path / "a_seg.npy", {"masks": 1}, allow_pickle=True)  # pyright: ignore
    audit = audit_pairs(tmp_path, None, PLANE)
    assert [pair.name for pair in audit.pairs] == ["a"]
    assert "a_seg.npy" in audit.notes[0]
    audit = audit_pairs(tmp_path, tmp_path, PLANE)
    assert audit.pairs == []
    assert sum("Save masks as PNG/TIF" in note for note in audit.notes) == 1
    with pytest.raises(DataError, match="Save masks as PNG/TIF"):
        open_pairs(tmp_path / "a.png", tmp_path / "a_seg.npy", Layout(2, label_suffix="_seg"))
    with pytest.raises(DataError, match="Save masks as PNG/TIF"):
        open_pairs(tmp_path / "a.png", tmp_path / "*_seg.npy", PLANE)


def test_a_seg_npy_of_numbers_is_a_label_image(tmp_path):
    write(tmp_path, "a")
    np.save(tmp_path / "a_seg.npy", np.ones((6, 7), np.uint16))
    audit = audit_pairs(tmp_path, tmp_path, PLANE)
    assert pairs_of(audit) == {"a": "a_seg"}


def test_many_files_of_one_problem_are_one_line(tmp_path):
    write(tmp_path / "i", "z")
    write(tmp_path / "l", *(f"x{number}" for number in range(14)), "z")
    with pytest.raises(DataError) as caught:
        open_pairs(tmp_path / "i", tmp_path / "l", PLANE)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("  - 14 files: expected an image of that name, found none.")
    assert "x0.png" in lines[1]
    assert "x13.png" in lines[1]


def test_arrays_pair_in_order():
    images = [np.full((5, 6), value, np.uint8) for value in (1, 2, 3)]
    labels = [np.full((5, 6), value, np.uint16) for value in (4, 5, 6)]
    pairs = open_pairs(images, labels, PLANE)
    assert [pair.name for pair in pairs] == ["array_0", "array_1", "array_2"]
    for pair, image, truth in zip(pairs, images, labels, strict=True):
        assert pair.labels is not None
        assert (pair.image.read()[0] == image).all()
        assert (pair.labels.read()[0] == truth).all()
    assert open_pairs(images[0], labels[0], PLANE)[0].name == "array"
    with pytest.raises(DataError, match=r"array_2: expected labels.*Arrays pair in order"):
        open_pairs(images, labels[:2], PLANE)
    with pytest.raises(DataError, match="found the image itself"):
        open_pairs(images, images, PLANE)
    with pytest.raises(DataError, match="found int"):
        open_pairs([1, 2], None, PLANE)  # pyright: ignore[reportArgumentType]


@given(NAMES, SUFFIXES, st.booleans(), st.randoms())
def test_division_finds_each_label_image(names, suffix, reverse, random):
    every = [*names, *(name + suffix for name in names)]
    random.shuffle(every)
    parts = divide(every)
    assert sorted(parts.images) == sorted(names)
    assert parts.labels == {name + suffix: name for name in names}
    assert not parts.several
    given_by = divide_by(every, image_suffix="", label_suffix=suffix)
    assert given_by.labels == parts.labels
    assert sorted(given_by.images) == sorted(names)


@given(st.lists(st.text("ab_-1masks", max_size=12).filter(bool), unique=True))
def test_every_name_is_in_one_part(names):
    parts = divide(names)
    several = [name for labels in parts.several.values() for name in labels]
    assert sorted([*parts.images, *parts.labels, *parts.extra, *several]) == sorted(names)
    assert all(parts.labels[name] != name for name in parts.labels)
    for name in names:
        whose = derive(name, names)
        assert whose is None or whose.image != name


def test_labels_of_several_endings_and_outputs_in_a_folder_of_their_own(tmp_path):
    images = write(tmp_path / "i", "a", "b")
    labels = write(tmp_path / "l", "a_cp_masks", "b_cp_masks", "a_flows", "b_flows")
    audit = audit_pairs(images, labels, PLANE)
    assert pairs_of(audit) == {"a": "a_cp_masks", "b": "b_cp_masks"}
    assert audit.problems == []
    labels = write(tmp_path / "m", "a_masks", "b_label")
    audit = audit_pairs(images, labels, PLANE)
    assert pairs_of(audit) == {"a": "a_masks", "b": "b_label"}
    assert any("'_label', '_masks'" in note for note in audit.notes)
    # What one training of a curve is given: the files themselves.
    given = [images / "a.png", images / "b.png"]
    truths = [labels / "a_masks.png", labels / "b_label.png"]
    assert pairs_of(audit_pairs(given, truths, PLANE)) == {"a": "a_masks", "b": "b_label"}
