"""What a folder is good for."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.data.pairs import Audit, Layout, audit_pairs
from unmask.errors import DataError
from unmask.io import save_image
from unmask.recipe import load
from unmask.training.advice import describe, suggest


def write(folder, *arrays):
    for number, array in enumerate(arrays):
        save_image(folder / f"{number}.tif", array, axes="ZYX"[-array.ndim :])
    return folder


def blobs(ids, *, pieces=1, shape=(24, 64)):
    """Each id as ``pieces`` separate squares."""
    labels = np.zeros(shape, np.uint16)
    for row in range(pieces):
        for column, value in enumerate(ids):
            labels[4 * row + 1 : 4 * row + 3, 4 * column + 1 : 4 * column + 3] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "preset", "settings"),
    [
        (blobs(range(1, 8)), "cells", []),
        (blobs([1], pieces=5), "semantic2d", ["task.classes=2"]),
        (blobs([1, 2, 3], pieces=5), "semantic2d", ["task.classes=4"]),
        (blobs([255], pieces=3), "semantic2d", ["task.classes=2", "task.values=[0, 255]"]),
        (blobs([7, 90, 200], pieces=5), "semantic2d", ["task.values=[0, 7, 90, 200]"]),
    ],
)
def test_the_preset_that_fits(tmp_path, labels, preset, settings):
    images = write(tmp_path / "i", np.zeros(labels.shape, np.uint8))
    recipe, words = suggest(images, write(tmp_path / "l", labels))
    assert recipe.name == preset
    assert f"--preset {preset}" in words
    assert all(f"--set '{line}'" in words for line in settings)
    assert recipe == load(preset).with_settings(
        [part.strip("'") for part in words.split("'")[1::2]]
    )


@pytest.mark.parametrize("shape", [(9, 8), (5, 9, 8)])
def test_a_table_tells_classes_of_whole_images(tmp_path, shape):
    images = write(tmp_path / "i", np.zeros(shape, np.uint8))
    table = tmp_path / "classes.csv"
    table.write_text("name,class\n0,ill\nz,well\n", encoding="utf-8")
    recipe, words = suggest(images, table)
    assert recipe.name == f"classify{len(shape)}d"
    assert words.endswith("""--set 'task.classes=["ill", "well"]'""")


def test_values_of_several_files_count(tmp_path):
    images = write(tmp_path / "i", *[np.zeros((24, 64), np.uint8)] * 3)
    labels = [blobs([1], pieces=5), blobs([1, 2], pieces=5), blobs([], pieces=1)]
    recipe, _ = suggest(images, write(tmp_path / "l", *labels))
    assert recipe.task is not None
    assert recipe.task.choice.options["classes"] == 3


@pytest.mark.parametrize(("shape", "name"), [((9, 9), "mae2d"), ((4, 9, 9), "mae3d")])
def test_without_labels_it_is_pretraining(tmp_path, shape, name):
    recipe, _ = suggest(write(tmp_path, np.zeros(shape, np.uint8)), None)
    assert recipe.name == name


def test_unreadable_files_are_passed_over(tmp_path):
    images = write(tmp_path, np.zeros((9, 9), np.uint8), np.zeros((9, 9), np.uint8))
    (images / "0.tif").write_bytes(b"no image")
    assert suggest(images, None)[0].name == "mae2d"


def test_nothing_readable_tells_every_problem(tmp_path):
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        suggest(tmp_path, None)
    assert all(str(tmp_path / name) in str(caught.value) for name in ("a.tif", "b.tif"))


def test_lines_of_an_audit(tmp_path):
    images = write(tmp_path, np.zeros((9, 8), np.uint8), np.zeros((9, 8), np.uint8))
    (images / "bad.tif").write_bytes(b"no image")
    audit = audit_pairs(images, None, Layout(2), read=True)
    lines = list(describe(audit, load("mae2d")))
    assert lines[0] == "2 usable images, 0 with labels; recipe 'mae2d'."
    assert any(line.strip() == "2 of 9 x 8, 1 channel, uint8" for line in lines)
    assert sum(line.startswith("note: ") for line in lines) == 2
    assert sum(line.startswith("PROBLEM: ") and "bad.tif" in line for line in lines) == 1


def test_the_size_of_a_volume_names_its_axes(tmp_path):
    images = write(tmp_path, np.zeros((4, 9, 8), np.uint8))
    lines = list(describe(audit_pairs(images, None, Layout(3)), load("mae3d")))
    assert "  1 of 4 x 9 x 8 voxels (z, y, x), 1 channel, uint8" in lines
    assert next(iter(describe(Audit([]), load("mae2d")))).startswith("0 usable")
