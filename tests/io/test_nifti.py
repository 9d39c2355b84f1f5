"""NIfTI volumes come in one orientation whatever the file's, and go back exactly."""

from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import Image, open_image, open_labels, save_image
from unmask.io.copying import copy_image
from unmask.space import Box

ORDERS = [
    (order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
SHAPE = (4, 5, 6)
SIZES = (0.7, 1.5, 3.0)


def affine_of(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (world, sign, size) in enumerate(zip(order, signs, SIZES, strict=True)):
        affine[world, axis] = sign * size
    affine[:3, 3] = (11, -7, 3)
    return affine


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    turn[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ [[c, -s, 0], [s, c, 0], [0, 0, 1]]
    return turn


def write(path: Path, affine: np.ndarray | None, dtype: str = "i2", shape: Any = SHAPE) -> Any:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return nibabel.load(path)


def written_again(path: Path, out: Path, *, parts: bool) -> Any:
    """Labels of the image's own values, written next to it."""
    image = open_image(path, ndim=3)
    if parts:
        copy_image(image, out, like=image)
    else:
        save_image(out, image.read()[0], like=image)
    return nibabel.load(out)


def header_bytes(volume: Any) -> bytes:
    header = volume.header
    names = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c")
    more = ("quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "pixdim", "dim")
    return b"".join(np.asarray(header[name]).tobytes() for name in (*names, *more))


@pytest.mark.parametrize(("order", "signs"), ORDERS)
@pytest.mark.parametrize("parts", [False, True])
def test_every_axis_order_comes_canonical_and_goes_back(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...], parts: bool
) -> None:
    source = write(tmp_path / "a.nii", affine_of(order, signs))
    canonical: Any = nibabel.as_closest_canonical(source)
    image = open_image(tmp_path / "a.nii", ndim=3)
    np.testing.assert_array_equal(image.read()[0], np.asarray(canonical.dataobj).T)
    assert image.spacing == pytest.approx(canonical.header.get_zooms()[::-1])
    np.testing.assert_allclose(image.meta["position"], canonical.affine)
    box = Box((1, 0, 2), tuple(n - 1 for n in image.shape[1:]))
    np.testing.assert_array_equal(image.read(box), image.read()[(slice(None), *box.slices)])
    again = written_again(tmp_path / "a.nii", tmp_path / "b.nii", parts=parts)
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(source.dataobj))
    assert header_bytes(again) == header_bytes(source)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("order", "signs"), ORDERS[5::9])
def test_an_oblique_volume_goes_to_the_nearest_order(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...], suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    source = write(path, rotation(20) @ affine_of(order, signs))
    canonical: Any = nibabel.as_closest_canonical(source)
    image = open_image(path, ndim=3)
    np.testing.assert_array_equal(image.read()[0], np.asarray(canonical.dataobj).T)
    assert image.spacing == pytest.approx(canonical.header.get_zooms()[::-1], rel=1e-5)
    again = written_again(path, tmp_path / f"b{suffix}", parts=False)
    np.testing.assert_array_equal(again.affine, source.affine)
    np.testing.assert_array_equal(np.asarray(again.dataobj), np.asarray(source.dataobj))


def test_both_forms_of_a_position_are_kept(tmp_path: Path) -> None:
    volume: Any = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), affine_of((1, 0, 2), (1, -1, 1)))
    volume.set_sform(affine_of((1, 0, 2), (1, -1, 1)), code=4)
    volume.set_qform(rotation(5) @ affine_of((1, 0, 2), (1, -1, 1)), code=1)
    nibabel.save(volume, tmp_path / "a.nii.gz")
    source = nibabel.load(tmp_path / "a.nii.gz")
    again = written_again(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", parts=True)
    assert header_bytes(again) == header_bytes(source)


def test_channels_stay_in_front_of_turned_axes(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nii", affine_of((2, 0, 1), (-1, 1, -1)), shape=(4, 5, 6, 2))
    image = open_image(tmp_path / "a.nii", ndim=3, axes="CZYX")
    first = nibabel.Nifti1Image(np.asarray(source.dataobj)[..., 1], source.affine)
    canonical: Any = nibabel.as_closest_canonical(first)
    np.testing.assert_array_equal(image.read()[1], np.asarray(canonical.dataobj).T)


def test_a_volume_without_position_keeps_its_order(tmp_path: Path) -> None:
    volume: Any = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(SHAPE), None)
    volume.header.set_zooms((0.5, 0.5, 2))
    assert not volume.header["sform_code"]
    nibabel.save(volume, tmp_path / "a.nii.gz")
    source: Any = nibabel.load(tmp_path / "a.nii.gz")
    image = open_image(tmp_path / "a.nii.gz", ndim=3)
    np.testing.assert_array_equal(image.read()[0], np.asarray(source.dataobj).T)
    assert image.spacing == (2, 0.5, 0.5)
    assert image.meta["position"] is None
    again = written_again(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", parts=False)
    assert header_bytes(again) == header_bytes(source)


def test_one_slice_keeps_its_order(tmp_path: Path) -> None:
    sagittal = affine_of((1, 2, 0), (1, 1, 1))
    source = write(tmp_path / "a.nii", sagittal, shape=(4, 5, 1))
    image = open_image(tmp_path / "a.nii", ndim=2)
    np.testing.assert_array_equal(image.read()[0], np.asarray(source.dataobj)[..., 0].T)


def test_a_position_of_one_millimetre_is_known(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", np.eye(4))
    assert open_image(tmp_path / "a.nii", ndim=3).spacing == (1, 1, 1)


def test_voxel_sizes_that_contradict_the_affine_give_way(tmp_path: Path) -> None:
    volume: Any = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), np.diag([2.0, 3, 4, 1]))
    volume.header["pixdim"][1:4] = 1
    nibabel.save(volume, tmp_path / "a.nii")
    assert open_image(tmp_path / "a.nii", ndim=3).spacing == (4, 3, 2)


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1, 0, 1]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.diag([1.0, np.nan, 1, 1]),
    ],
    ids=["zero", "parallel", "nan"],
)
@pytest.mark.parametrize("opener", [open_image, open_labels])
def test_a_singular_affine_is_refused(tmp_path: Path, affine: np.ndarray, opener: Any) -> None:
    volume: Any = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4))
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        volume.header[name] = affine[row]
    volume = nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), None, volume.header)
    nibabel.save(volume, tmp_path / "bad.nii.gz")
    with pytest.raises(DataError, match=r"bad\.nii\.gz: expected an affine .* singular"):
        opener(tmp_path / "bad.nii.gz", ndim=3)


def test_other_formats_get_a_known_voxel_size_in_the_canonical_order(tmp_path: Path) -> None:
    write(tmp_path / "a.nii", affine_of((2, 1, 0), (-1, -1, 1)))
    image = open_image(tmp_path / "a.nii", ndim=3)
    save_image(tmp_path / "b.tif", image.read()[0], like=image)
    other = open_image(tmp_path / "b.tif", ndim=3)
    np.testing.assert_array_equal(other.read(), image.read())
    assert other.spacing == pytest.approx(image.spacing)


def test_labels_made_of_an_array_claim_no_position(tmp_path: Path) -> None:
    save_image(tmp_path / "a.nii", np.ones((3, 4, 5), np.uint8))
    assert open_image(tmp_path / "a.nii", ndim=3).spacing is None
    image = Image.from_array(np.ones((3, 4, 5), np.uint8), spacing=(3, 2, 1))
    save_image(tmp_path / "b.nii", image.read()[0], like=image)
    assert open_image(tmp_path / "b.nii", ndim=3).spacing == (3, 2, 1)
