"""The identity of a file changes when the file does."""

from __future__ import annotations

import os

import numpy as np
import pytest

from unmask.io import Image, open_image, save_image
from unmask.io.identity import UNKNOWN, identity, image_identity, is_in_files


@pytest.mark.parametrize("name", ["a.tif", "a.ome.zarr"])
def test_every_change_of_a_file_is_noticed(name, tmp_path):
    path = tmp_path / name
    save_image(path, np.ones((40, 40), np.uint8))
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    seen = {identity(path)}
    for number, file in enumerate(files, 1):
        os.utime(file, ns=(number, number))
        assert identity(path) not in seen
        seen.add(identity(str(path)))
    assert image_identity(open_image(path, ndim=2)) == identity(path)


def test_all_files_of_an_image_count(tmp_path):
    for number in range(2):
        save_image(tmp_path / f"a_{number}.tif", np.ones((8, 8), np.uint8))
    image = open_image(tmp_path / "a_{0,1}.tif", ndim=2)
    before = image_identity(image)
    os.utime(tmp_path / "a_1.tif", ns=(1, 1))
    assert image_identity(image) != before
    assert is_in_files(image)


def test_arrays_and_folders_have_none(tmp_path):
    assert identity("array") == identity(tmp_path) == UNKNOWN
    assert not is_in_files(Image.from_array(np.ones((4, 4))))
