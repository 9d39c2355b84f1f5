"""Labels of a part of an image: by a setting, by affines, by offsets in the files."""

from __future__ import annotations

import h5py
import nibabel
import numpy as np
import pytest

import unmask
from unmask.data.offset import part_with_labels
from unmask.data.pairs import Layout, audit_pairs, open_pairs
from unmask.errors import DataError, RecipeError
from unmask.io import Image, save_image

RNG = np.random.default_rng(0)


def volume(ndim):
    """An image whose labels are its own values, and an offset."""
    shape, start = (12, 30, 28)[-ndim:], (3, 5, 7)[-ndim:]
    image = RNG.integers(1, 200, shape).astype(np.uint8)
    part = tuple(slice(a, a + n // 2) for a, n in zip(start, shape, strict=True))
    return image, image[part].copy(), start


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_setting_says_where_labels_are(tmp_path, ndim):
    image, labels, start = volume(ndim)
    axes = "ZYX"[-ndim:]
    save_image(tmp_path / "whole.tif", image, axes=axes)
    save_image(tmp_path / "part.tif", labels, axes=axes)
    paths = tmp_path / "whole.tif", tmp_path / "part.tif"
    (pair,) = open_pairs(*paths, Layout(ndim, label_offset=start))
    assert pair.image.shape[1:] == labels.shape
    np.testing.assert_array_equal(pair.image.read()[0], labels)
    np.testing.assert_array_equal(pair.image[0, 1:3], labels[1:3])
    with pytest.raises(DataError, match=r"label_offset=\[0,0") as error:
        open_pairs(*paths, Layout(ndim))
    assert f"x has {labels.shape[-1]} voxels instead of {image.shape[-1]}" in str(error.value)
    for wrong in ((20,) * ndim, (-1,) * ndim, (0,) * (ndim + 1)):
        with pytest.raises(DataError, match="labels inside of"):
            open_pairs(*paths, Layout(ndim, label_offset=wrong))


@pytest.mark.parametrize("ndim", [2, 3])
def test_evaluate_compares_the_part_that_has_a_truth(tmp_path, ndim):
    image, labels, start = volume(ndim)
    save_image(tmp_path / "p" / "a.tif", image, axes="ZYX"[-ndim:])
    save_image(tmp_path / "t" / "a.tif", labels, axes="ZYX"[-ndim:])
    given = {"truth": tmp_path / "t", "predicted": tmp_path / "p", "metrics": ["accuracy"]}
    where = f"data.label_offset={list(start)}"
    assert unmask.evaluate(**given, settings=[where]).summary["accuracy"]["mean"] == 1
    with pytest.raises(DataError, match="label_offset"):
        unmask.evaluate(**given)
    with pytest.raises(RecipeError, match="whole numbers"):
        unmask.evaluate(**given, settings=["data.label_offset=[a]"])


def test_affines_say_it(tmp_path):
    image, labels, start = volume(3)
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    affine[:3, 3] = (10, -20, 5)
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*start[::-1], 1])[:3]
    for name, array, where in (("i", image, affine), ("l", labels, moved)):
        path = tmp_path / name / "a.nii.gz"
        path.parent.mkdir()
        nibabel.save(nibabel.Nifti1Image(array.T, where), path)
    audit = audit_pairs(tmp_path / "i", tmp_path / "l", Layout(3))
    assert audit.problems == []
    np.testing.assert_array_equal(audit.pairs[0].image.read()[0], labels)
    assert "only this part of the image is used" in audit.notes[0]
    # Equal positions are what files have that say nothing: rows may be missing.
    nibabel.save(nibabel.Nifti1Image(labels.T, affine), tmp_path / "l" / "a.nii.gz")
    (problem,) = audit_pairs(tmp_path / "i", tmp_path / "l", Layout(3)).problems
    assert "data.label_offset=[0,0,0]" in problem


def test_a_position_is_whole_voxels(tmp_path):
    image, labels, start = volume(3)
    affine, moved = np.eye(4), np.eye(4)
    moved[:3, 3] = start[::-1]
    for name, array, where in (("i", image, affine), ("l", labels, moved)):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(array.T, where), tmp_path / name / "a.nii.gz")
    assert audit_pairs(tmp_path / "i", tmp_path / "l", Layout(3)).problems == []
    moved[0, 3] += 0.4
    nibabel.save(nibabel.Nifti1Image(labels.T, moved), tmp_path / "l" / "a.nii.gz")
    assert len(audit_pairs(tmp_path / "i", tmp_path / "l", Layout(3)).problems) == 1


@pytest.mark.parametrize("stated", [True, False])
def test_offsets_of_containers_say_it(tmp_path, stated):
    image, labels, start = volume(3)
    size = np.array([40.0, 4.0, 4.0])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"], file["seg"] = image, labels
        for key in ("raw", "seg"):
            file[key].attrs["resolution"] = size
        file["seg"].attrs["offset"] = (np.array(start) + 100 * stated) * size
        if stated:
            file["raw"].attrs["offset"] = 100 * size
    paths = f"{tmp_path}/a.h5:raw", f"{tmp_path}/a.h5:seg"
    (pair,) = open_pairs(*paths, Layout(3))
    np.testing.assert_array_equal(pair.image.read()[0], labels)
    assert pair.image.spacing == (40.0, 4.0, 4.0)


def test_the_part_keeps_channels_and_drops_the_position():
    image = Image.from_array(np.arange(2 * 6 * 8).reshape(2, 6, 8), axes="CYX")
    labels = Image.from_array(np.zeros((3, 4), np.uint8), axes="YX")
    part = part_with_labels(image, labels, (2, 3))
    np.testing.assert_array_equal(part.read(), image.read()[:, 2:5, 3:7])
    assert part_with_labels(image, image) is image


@pytest.mark.parametrize("ndim", [2, 3])
def test_training_takes_the_part(command, tiny, tmp_path, ndim):
    image, _, start = volume(ndim)
    labels = np.zeros(tuple(n // 2 for n in image.shape), np.uint8)
    labels[(slice(1, 4),) * ndim] = 1
    labels[..., -5:-2] = 2
    save_image(tmp_path / "whole.tif", image, axes="ZYX"[-ndim:])
    save_image(tmp_path / "part.tif", labels, axes="ZYX"[-ndim:])
    given = (tmp_path / "whole.tif", "--labels", tmp_path / "part.tif", "--set",
             f"data.label_offset={list(start)}", "--preset", "cells" if ndim == 2 else "cells3d",
             *tiny(ndim, steps=1))  # fmt: skip
    answer = command("check", *given)
    assert answer.code == 0, answer.out + answer.err
    answer = command("train", "--images", *given, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
