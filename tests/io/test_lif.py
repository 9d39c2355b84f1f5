"""LIF files give the values and voxel sizes that another reader of the format gives."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.io import open_image
from unmask.testing.example_files import write_lif

liffile = pytest.importorskip("liffile")
SHAPES = {"YX": (7, 9), "CYX": (2, 7, 9), "ZYX": (3, 5, 7), "CZYX": (2, 3, 5, 7)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("axes", SHAPES)
def test_an_independent_reader_agrees(axes, dtype, tmp_path):
    values = np.random.default_rng(0).integers(0, 250, SHAPES[axes]).astype(dtype)
    write_lif(tmp_path / "a.lif", values, axes)
    image = open_image(tmp_path / "a.lif", ndim=3 if "Z" in axes else 2)
    with liffile.LifFile(tmp_path / "a.lif") as file:
        (peer,) = file.images
        theirs, dims, coords = peer.asarray(), peer.dims, peer.coords
    ours = image.read() if "C" in axes else image.read()[0]
    np.testing.assert_array_equal(theirs.transpose([dims.index(axis) for axis in axes]), ours)
    assert theirs.dtype == ours.dtype
    steps = [coords[axis][1] - coords[axis][0] for axis in axes if axis != "C"]
    assert image.unit == "um"
    assert image.spacing == pytest.approx([1e6 * step for step in steps])
