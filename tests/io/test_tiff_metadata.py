"""Voxel sizes and channel names of TIFF, also of files that older programs wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from unmask.io import open_image

RNG = np.random.default_rng(13)


@pytest.mark.parametrize(
    ("shape", "ndim"), [((40, 50), 2), ((4, 40, 50), 3), ((1, 40, 50), 2), ((2, 3, 40, 50), 3)]
)
def test_descriptions_of_old_tifffile(tmp_path: Path, shape: tuple[int, ...], ndim: int) -> None:
    array = RNG.integers(0, 255, shape).astype(np.uint8)
    color = len(shape) == 4
    tifffile.imwrite(
        tmp_path / "a.tif", array, description=f"shape=({','.join(map(str, shape))})",
        metadata=None, photometric="rgb" if color else "minisblack",
        planarconfig="separate" if color else None,
    )  # fmt: skip
    image = open_image(tmp_path / "a.tif", ndim=ndim)
    truth = np.moveaxis(array, 1, 0) if color else array.reshape(shape[-ndim:])[None]
    np.testing.assert_array_equal(image.read(), truth)
    assert image.spacing is None


def test_channel_names(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (2, 3, 20, 24)).astype(np.uint8)
    names = ["DAPI", "GFP"]
    tifffile.imwrite(
        tmp_path / "a.ome.tif", array, photometric="minisblack",
        metadata={"axes": "CZYX", "Channel": {"Name": names}},
    )  # fmt: skip
    assert open_image(tmp_path / "a.ome.tif").meta["channels"] == ("DAPI", "GFP")
    tifffile.imwrite(
        tmp_path / "b.tif", array[:, 0], imagej=True, metadata={"axes": "CYX", "Labels": names}
    )
    assert open_image(tmp_path / "b.tif").meta["channels"] == ("DAPI", "GFP")
    tifffile.imwrite(tmp_path / "c.tif", array[:, 0], imagej=True, metadata={"axes": "CYX"})
    assert "channels" not in open_image(tmp_path / "c.tif").meta
    # A user who calls the channels a volume does not get their names.
    assert "channels" not in open_image(tmp_path / "b.tif", axes="ZYX").meta
