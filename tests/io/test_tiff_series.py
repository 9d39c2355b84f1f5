"""Several images in one TIFF: one is chosen, thumbnails and coarser levels go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unmask.errors import DataError
from unmask.io import list_files, open_image, open_labels, output_name, save_image, stem

RNG = np.random.default_rng(5)
SIZES = {2: [(40, 50), (60, 64), (30, 90)], 3: [(4, 40, 50), (5, 60, 64), (2, 30, 90)]}


def scenes(path: Path, ndim: int, **options: Any) -> list[np.ndarray]:
    """An OME-TIFF of three positions, each with a voxel size of its own."""
    arrays = [RNG.integers(0, 255, size).astype(np.uint8) for size in SIZES[ndim]]
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, array in enumerate(arrays):
            metadata: dict[str, Any] = {
                "Name": f"position {number + 1}", "axes": "ZYX"[-ndim:],
                **{f"PhysicalSize{axis}": 0.5 * (number + 1) for axis in "ZYX"[-ndim:]},
                "Channel": {"Name": [f"dye {number}"]},
            }  # fmt: skip
            file.write(array, photometric="minisblack", metadata=metadata, **options)
    return arrays


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}], ids=str)
def test_a_number_chooses_one_of_several(
    tmp_path: Path, ndim: int, options: dict[str, Any]
) -> None:
    path = tmp_path / "scenes.ome.tif"
    arrays = scenes(path, ndim, **options)
    with pytest.raises(DataError, match=r"expected one image .*:0 'position 1'.*:2 'position 3'"):
        open_image(path, ndim=ndim)
    for number, array in enumerate(arrays):
        image = open_image(f"{path}:{number}", ndim=ndim)
        np.testing.assert_array_equal(image.read()[0], array)
        np.testing.assert_array_equal(image[0, ..., 3:7, 5:30], array[..., 3:7, 5:30])
        assert image.spacing == (0.5 * (number + 1),) * ndim
        assert image.meta["channels"] == (f"dye {number}",)
        assert image.name == f"scenes_{number}"
        assert output_name(image, "out") == Path(f"out/scenes_{number}.ome.tif")
    with pytest.raises(DataError, match="a number from 0 to 2 after the colon, found 3"):
        open_image(f"{path}:3", ndim=ndim)


def test_labels_and_lists_take_numbers(tmp_path: Path) -> None:
    path = tmp_path / "s.ome.tif"
    arrays = scenes(path, 2)
    assert list_files([f"{path}:1", f"{path}:2"]) == [f"{path}:1", f"{path}:2"]
    np.testing.assert_array_equal(open_labels(f"{path}:1").read()[0], arrays[1])
    assert stem(f"{path}:1") == "s_1"


def test_a_number_is_not_written_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.tif"
    save_image(path, np.ones((8, 8), np.uint8))
    before = path.read_bytes()
    with pytest.raises(DataError, match="a number after it"):
        save_image(f"{path}:1", np.zeros((8, 8), np.uint8))
    assert path.read_bytes() == before


@pytest.mark.parametrize("shapes", [[(40, 50), (8, 9)], [(40, 50), (20, 25)], [(9, 8), (9, 8)]])
@pytest.mark.parametrize("other", [np.uint8, np.float32])
def test_pages_of_another_kind_are_other_images(
    tmp_path: Path, shapes: list[tuple[int, int]], other: type
) -> None:
    if shapes[0] == shapes[1] and other is np.uint8:
        pytest.skip("equal pages are a stack")
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(np.zeros(shapes[0], np.uint8), metadata=None)
        file.write(np.ones(shapes[1], other), metadata=None)
    with pytest.raises(DataError, match="expected one image in the file, found 2"):
        open_image(tmp_path / "s.tif", ndim=2)
    assert open_image(f"{tmp_path}/s.tif:0", ndim=2).shape[1:] == shapes[0]


@pytest.mark.parametrize("name", ["label image", "Macro", "slide 2 - Thumbnail", "overview 1"])
def test_what_a_scanner_adds_is_left_out(tmp_path: Path, name: str) -> None:
    small, large = np.zeros((20, 20), np.uint8), RNG.integers(0, 9, (30, 10)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "s.ome.tif", ome=True) as file:
        file.write(small, photometric="minisblack", metadata={"Name": name})
        file.write(large, photometric="minisblack", metadata={"Name": "tissue"})
    np.testing.assert_array_equal(open_image(tmp_path / "s.ome.tif", ndim=2).read()[0], large)
    assert open_image(f"{tmp_path}/s.ome.tif:0", ndim=2).shape == (1, 20, 20)


def test_reduced_pages_are_left_out(tmp_path: Path) -> None:
    array = RNG.integers(0, 9, (40, 50)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(array, metadata=None)
        file.write(array[::5, ::5], metadata=None, subfiletype=1)
    np.testing.assert_array_equal(open_image(tmp_path / "s.tif").read()[0], array)
