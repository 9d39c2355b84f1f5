"""Precomputed volumes: what a reader of the format puts together is the image."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import Image, open_image
from unmask.io.precomputed import write_precomputed


def assembled(folder, number=0):
    """A scale as the format defines it: chunks of [x, y, z, channel] in Fortran order."""
    info = json.loads((folder / "info").read_text())
    scale = info["scales"][number]
    size, chunk = scale["size"], scale["chunk_sizes"][0]
    whole = np.zeros((*size, info["num_channels"]), info["data_type"])
    for start in product(*(range(0, n, c) for n, c in zip(size, chunk, strict=True))):
        stop = [min(a + c, n) for a, c, n in zip(start, chunk, size, strict=True)]
        name = "_".join(f"{a}-{b}" for a, b in zip(start, stop, strict=True))
        shape = [b - a for a, b in zip(start, stop, strict=True)]
        raw = np.frombuffer((folder / scale["key"] / name).read_bytes(), info["data_type"])
        place = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        whole[place] = raw.reshape((*shape, info["num_channels"]), order="F")
    return info, whole.transpose(3, 2, 1, 0)


@pytest.mark.parametrize("shape", [(5, 70, 130), (90, 65)])
def test_labels_are_put_together_again(tmp_path, shape):
    labels = np.random.default_rng(0).integers(0, 70_000, shape, np.uint32)
    axes, spacing = "ZYX"[-len(shape) :], (2.0, 0.5, 0.25)[-len(shape) :]
    image = Image.from_array(labels, axes=axes, spacing=spacing)
    info, whole = assembled(write_precomputed(image, tmp_path / "a", labels=True))
    np.testing.assert_array_equal(whole.reshape(shape), labels)
    assert (info["type"], info["data_type"]) == ("segmentation", "uint32")


def test_coarser_levels_and_nanometers(tmp_path):
    labels = np.arange(300 * 4 * 40, dtype=np.uint32).reshape(300, 4, 40)
    image = replace(Image.from_array(labels, axes="ZYX", spacing=(1.0, 2.0, 3.0)), unit="um")
    folder = write_precomputed(image, tmp_path / "a", labels=True)
    info, fine = assembled(folder)
    assert info["scales"][0]["resolution"] == pytest.approx([3000, 2000, 1000])
    assert len(info["scales"]) == 2
    _, coarse = assembled(folder, 1)
    np.testing.assert_array_equal(coarse[0], fine[0, ::2])
    assert info["scales"][1]["resolution"] == pytest.approx([3000, 2000, 2000])


def test_channels_of_an_image(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (3, 20, 30), np.uint8)
    image = Image.from_array(array, axes="CYX")
    info, whole = assembled(write_precomputed(image, tmp_path / "a", labels=False))
    np.testing.assert_array_equal(whole[:, 0], array)
    assert (info["type"], info["num_channels"]) == ("image", 3)


def test_types_that_the_format_lacks(tmp_path):
    floats = Image.from_array(np.zeros((4, 4), np.float64), axes="YX")
    info, _ = assembled(write_precomputed(floats, tmp_path / "a", labels=False))
    assert info["data_type"] == "float32"
    with pytest.raises(DataError, match="uint64"):
        write_precomputed(Image.from_array(np.zeros((4, 4), np.float32), axes="YX"),
                          tmp_path / "b", labels=True)  # fmt: skip
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("shape", [(5, 70, 130), (90, 65)])
def test_a_chunk_of_gigantic_size_is_refused_before_it_is_read(tmp_path, shape):
    pytest.importorskip("tensorstore")
    labels = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
    ndim = len(shape)
    image = Image.from_array(labels, ndim=ndim, spacing=(2.0, 1.0, 1.0)[-ndim:])
    folder = write_precomputed(image, tmp_path / "a.precomputed", labels=True)
    np.testing.assert_array_equal(open_image(folder, ndim=ndim).read()[0], labels)
    key = json.loads((folder / "info").read_text())["scales"][0]["key"]
    last = max((folder / key).iterdir())
    with last.open("wb") as file:
        file.truncate(2**33)
    opened = open_image(folder, ndim=ndim)
    with pytest.raises(DataError, match=rf"chunks of at most .* found {last.name} of 8589934592"):
        opened.read()
    # Chunks that are not read do not matter.
    assert opened[(slice(0, 1),) * (ndim + 1)].shape == (1,) * (ndim + 1)
