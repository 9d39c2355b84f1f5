"""What is saved comes back: values, type, axes, voxel size; parts equal the same part of all."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unmask.errors import DataError
from unmask.io import (
    FORMATS,
    Image,
    list_files,
    open_image,
    open_labels,
    output_name,
    save_image,
    smallest_uint,
)
from unmask.space import Box

# One suffix for each format that keeps everything.
EXACT = list(
    {
        f.name: s
        for s, f in reversed(list(FORMATS.items()))
        if f.save is not None and not f.lossy and s not in (".png", ".bmp", ".seg.dcm")
    }.values()
)
SPACES = [(23, 37), (7, 23, 37), (1, 23, 37)]
TYPES = ["bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
# NIfTI has no type for these; they are stored in the next larger one.
WIDENED = {"bool": "u1", "f2": "f4"}


def random_array(shape: tuple[int, ...], code: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    dtype = np.dtype(code)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("code", TYPES)
def test_values_and_types_come_back(tmp_path: Path, suffix: str, code: str) -> None:
    array = random_array((5, 12, 17), code)
    path = tmp_path / f"volume{suffix}"
    save_image(path, array, axes="ZYX")
    image = open_image(path, ndim=3)
    nifti = suffix.startswith(".nii")
    assert image.dtype == np.dtype(WIDENED.get(code, code) if nifti else code)
    assert image.read().dtype == image.dtype
    np.testing.assert_array_equal(image.read(), array[None])


@pytest.mark.parametrize("suffix", [s for s in EXACT if s != ".npy"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("code", ["u1", "u4"])
def test_axes_and_spacing_come_back(
    tmp_path: Path, suffix: str, space: tuple[int, ...], channels: int, code: str
) -> None:
    array = random_array((channels, *space), code)
    spacing = (2.5, 0.5, 0.25)[-len(space) :]
    path = tmp_path / f"image{suffix}"
    save_image(path, array, spacing=spacing, unit="um")
    image = open_image(path, ndim=len(space))
    assert image.shape == array.shape
    assert image.axes == "C" + "ZYX"[-len(space) :]
    assert image.ndim == len(space)
    assert image.spacing == pytest.approx(spacing)
    assert image.unit == "um"
    np.testing.assert_array_equal(image.read(), array)


@pytest.mark.parametrize("suffix", [s for s in EXACT if s != ".npy"])
def test_axes_of_the_file_suffice(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"v{suffix}", np.zeros((4, 6, 8), np.uint8), axes="ZYX")
    assert open_image(tmp_path / f"v{suffix}").axes == "CZYX"


@pytest.mark.parametrize("suffix", [s for s in EXACT if s != ".npy"])
def test_no_spacing_stays_unknown(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"v{suffix}", np.zeros((4, 6, 8), np.uint16), axes="ZYX")
    image = open_image(tmp_path / f"v{suffix}")
    assert image.spacing is None
    assert image.unit is None


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("shape", [*product((1, 2, 3), repeat=3), *product((1, 2), repeat=4)])
def test_thin_planes_stay_planes(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    """Programs drop axes of one voxel, and some drop too many of them."""
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    path = tmp_path / f"p{suffix}"
    save_image(path, array, axes="C" + "ZYX"[1 - len(shape) :])
    np.testing.assert_array_equal(open_image(path, ndim=len(shape) - 1).read(), array)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr", ".h5", ".nii.gz", ".nii", ".npy"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_a_part_equals_that_part_of_the_whole(
    tmp_path: Path, suffix: str, draw: st.DataObject
) -> None:
    ndim = draw.draw(st.sampled_from([2, 3]))
    shape = tuple(draw.draw(st.integers(1, 40)) for _ in range(ndim))
    channels = draw.draw(st.integers(1, 3))
    code = draw.draw(st.sampled_from(["u1", "i2", "u8", "f4"]))
    array = random_array((channels, *shape), code)
    path = tmp_path / f"p{suffix}"
    save_image(path, array, axes="C" + "ZYX"[-ndim:])
    axes = "C" * (channels > 1) + "ZYX"[-ndim:] if suffix == ".npy" else None
    image = open_image(path, ndim=ndim, axes=axes)
    for _ in range(4):
        start = tuple(draw.draw(st.integers(0, n)) for n in shape)
        stop = tuple(draw.draw(st.integers(a, n)) for a, n in zip(start, shape, strict=True))
        box = Box(start, stop)
        part = image.read(box)
        assert part.dtype == array.dtype
        np.testing.assert_array_equal(part, array[(slice(None), *box.slices)])


INDICES: list[Any] = [
    0,
    -1,
    (0, 3),
    (..., 2),
    (..., slice(None, None, -1)),
    (slice(None), 1, slice(5, 1, -2), slice(None, None, 3)),
    (slice(None), slice(3, 3)),
    (None, 1, ..., slice(-4, None)),
    (..., None, slice(0, 100)),
    (np.int64(1), slice(-100, 2), 4, 5),
    (1, 2, 3, 4),
    (),
    ...,
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("suffix", [".tif", ".h5", ".nii.gz"])
def test_indexing_is_numpys(tmp_path: Path, suffix: str, index: Any) -> None:
    array = random_array((2, 6, 12, 17), "u2")
    save_image(tmp_path / f"a{suffix}", array)
    image = open_image(tmp_path / f"a{suffix}", ndim=3)
    np.testing.assert_array_equal(image[index], array[index])
    np.testing.assert_array_equal(Image.from_array(array, ndim=3)[index], array[index])


@pytest.mark.parametrize("index", [2, (0, 0, 0, 0, 0), (0, 99), [0, 1], True, (..., ...), 1.5])
def test_other_indices_are_refused(index: Any) -> None:
    image = Image.from_array(np.zeros((2, 4, 5, 6)))
    with pytest.raises(IndexError):
        image[index]


@pytest.mark.parametrize(
    "box", [Box((0, 0), (4, 4)), Box((0, 0, 0), (9, 1, 1)), Box((-1, 0, 0), (1, 1, 1))]
)
def test_a_box_outside_the_image_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="not inside the image"):
        Image.from_array(np.zeros((4, 5, 6)), ndim=3).read(box)


def test_reads_are_copies() -> None:
    array = np.zeros((4, 5), np.uint8)
    Image.from_array(array).read()[:] = 1
    assert not array.any()


def test_arrays_in_memory() -> None:
    assert Image.from_array(np.zeros((9, 8))).axes == "CYX"
    assert Image.from_array(np.zeros((9, 8, 3))).shape == (3, 9, 8)
    assert Image.from_array(np.zeros((7, 9, 8)), spacing=(2, 1, 1)).shape == (1, 7, 9, 8)
    assert Image.from_array(np.zeros((2, 9, 8)), ndim=2).shape == (2, 9, 8)
    assert Image.from_array(np.zeros((9, 8, 7, 3)), ndim=3).shape == (3, 9, 8, 7)
    assert Image.from_array(np.zeros((9, 2, 8)), axes="YCX").shape == (2, 9, 8)
    with pytest.raises(DataError, match="axes"):
        Image.from_array(np.zeros((7, 9, 8)))
    with pytest.raises(DataError, match="complex"):
        Image.from_array(np.zeros((9, 8), complex))
    with pytest.raises(DataError, match="at least one voxel"):
        Image.from_array(np.zeros((0, 8)))


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("top", [255, 65535, 2**32 - 1, 2**53, 2**63, 2**64 - 1])
def test_ids_are_kept(tmp_path: Path, suffix: str, top: int) -> None:
    labels = smallest_uint(np.array([[0, 1, 7], [top, top - 1, 2]], np.uint64))
    assert labels.dtype == np.min_scalar_type(top)
    save_image(tmp_path / f"ids{suffix}", labels)
    image = open_labels(tmp_path / f"ids{suffix}", ndim=2)
    assert image.dtype == labels.dtype
    np.testing.assert_array_equal(image.read()[0], labels)


@pytest.mark.parametrize(
    "name",
    [
        "a b.tif",
        "-dash.tif",
        "größe 細胞.ome.zarr",
        "x[1].h5",
        "Ω.nii.gz",
        "a:b.png",
        "é" * 120 + ".tif",
    ],
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    array = random_array((1, 6, 5), "u1")
    save_image(tmp_path / name, array, axes="CYX")
    np.testing.assert_array_equal(open_image(tmp_path / name, ndim=2).read(), array)
    assert list_files(tmp_path / name) == [str(tmp_path / name)]
    assert list_files(tmp_path) == [str(tmp_path / name)]


@pytest.mark.parametrize(
    ("suffix", "family"),
    [
        (".tif", ".tif"),
        (".tiff", ".tif"),
        (".ome.tif", ".ome.tif"),
        (".zarr", ".ome.zarr"),
        (".ome.zarr", ".ome.zarr"),
        (".nii", ".nii"),
        (".nii.gz", ".nii.gz"),
        (".h5", ".h5"),
        (".png", ".tif"),
        (".bmp", ".tif"),
        (".npy", ".tif"),
    ],
)
def test_predictions_stay_in_the_family(tmp_path: Path, suffix: str, family: str) -> None:
    save_image(tmp_path / f"one.two{suffix}", np.zeros((6, 5), np.uint8))
    image = open_image(tmp_path / f"one.two{suffix}")
    assert output_name(image, tmp_path / "out") == tmp_path / "out" / f"one.two{family}"
    save_image(output_name(image, tmp_path / "out"), np.ones((6, 5), np.uint8), like=image)
    assert open_labels(tmp_path / "out" / f"one.two{family}").read().all()


def test_predictions_for_arrays() -> None:
    assert output_name(Image.from_array(np.zeros((2, 2))), "out") == Path("out/array.tif")


def test_save_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="suffix"):
        save_image(tmp_path / "a.xyz", np.zeros((4, 4)))
    with pytest.raises(DataError, match="PNG can hold"):
        save_image(tmp_path / "a.png", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(DataError, match="complex"):
        save_image(tmp_path / "a.tif", np.zeros((4, 4), complex))
    with pytest.raises(DataError, match="spatial axes"):
        save_image(tmp_path / "a.tif", np.zeros((2, 4, 4, 4, 4)))
    with pytest.raises(DataError, match="axes C, Z, Y, X"):
        save_image(tmp_path / "a.tif", np.zeros((4, 4, 4)), axes="TYX")
    assert not list(tmp_path.iterdir())


def test_axes_may_come_in_any_order(tmp_path: Path) -> None:
    array = random_array((6, 5, 2), "u2")
    save_image(tmp_path / "a.tif", array, axes="YXC")
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif").read(), array.transpose(2, 0, 1))


def test_smallest_uint_refuses_negative() -> None:
    with pytest.raises(DataError, match="-1"):
        smallest_uint(np.array([-1, 2]))
    assert smallest_uint(np.array([True])).dtype == np.uint8
    assert smallest_uint(np.zeros(0, np.int64)).dtype == np.uint8
