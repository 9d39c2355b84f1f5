"""Images are read once, line by line where they are large, checked and normalized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unmask.data import source as module
from unmask.data.normalize import Affine, MinMax, NoNormalize, Window
from unmask.data.source import ImageSource
from unmask.errors import DataError
from unmask.io import Image


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 200, shape).astype(dtype)


class Counted:
    """An image in pieces that notes what is read."""

    def __init__(self, array):
        self.array, self.lines = array, []

    def image(self) -> Image:
        plain = Image.from_array(self.array, name="big.tif", ndim=self.array.ndim - 1)

        def fetch(index):
            self.lines.append((index[1].start, index[1].stop))
            return self.array[index]

        return replace(plain, fetch=fetch)


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(module, "_WHOLE_BYTES", 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 90, 20), (2, 40, 6, 5)])
def test_lines_of_a_large_image_are_read_once(large, dtype, shape):
    counted = Counted(noise(*shape, dtype=dtype))
    source = ImageSource(counted.image(), channels=shape[0], normalize=Window(0.0, 400.0))
    counted.lines.clear()
    for start in (0, 12, 24, 24):
        lines = source.lines(start, start + 16)
        expected = counted.array[:, start : start + 16] / 400
        result = source.prepare(lines)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, atol=1e-6)
    assert counted.lines == [(0, 16), (16, 28), (28, 40)]
    np.testing.assert_allclose(source.prepare(source.lines(30, 34)), counted.array[:, 30:34] / 400)


def test_jumps_read_anew(large):
    counted = Counted(noise(1, 90, 20))
    source = ImageSource(counted.image(), channels=1, normalize=NoNormalize())
    for start, stop in ((0, 10), (50, 60), (20, 40)):
        assert np.array_equal(source.lines(start, stop), counted.array[:, start:stop])


def test_samples_of_a_large_image_are_its_values(large, monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 400)
    array = noise(2, 300, 200)
    seen = []

    class Spy:
        def measure(self, image):
            seen.append(image)
            return Affine((1.0, 1.0), (0.0, 0.0))

    for _ in range(2):
        ImageSource(Counted(array).image(), channels=2, normalize=Spy())
    assert np.array_equal(seen[0], seen[1])
    assert seen[0].shape[0] == 2
    assert 200 < seen[0].shape[1] < 800
    assert abs(float(seen[0].mean()) - array.mean()) < 10
    ImageSource(Counted(noise(1, 3, 2)).image(), channels=1, normalize=NoNormalize())


def test_a_small_image_is_read_once():
    counted = Counted(noise(1, 30, 20))
    source = ImageSource(counted.image(), channels=3, normalize=MinMax())
    assert source.shape == (3, 30, 20)
    assert len(counted.lines) == 1
    source.lines(0, 10)
    source.lines(5, 15)
    assert len(counted.lines) == 1


def test_an_image_that_is_only_whole_is_read_whole(large):
    counted = Counted(noise(1, 30, 20))
    ImageSource(replace(counted.image(), whole=True), channels=1, normalize=NoNormalize()).lines(
        0, 9
    )
    assert counted.lines == [(0, 30)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("size", [0, 1 << 28])
def test_values_that_are_not_finite_are_named(monkeypatch, value, size):
    monkeypatch.setattr(module, "_WHOLE_BYTES", size)
    monkeypatch.setattr(module, "_SAMPLE", 100)
    array = noise(1, 60, 20, dtype=np.float32)
    array[0, 41, 7] = value
    array[0, 50, 2] = value

    def read():
        image = Counted(array).image()
        source = ImageSource(image, channels=1, normalize=NoNormalize())
        source.lines(0, 30)
        source.lines(20, 60)

    with pytest.raises(DataError, match=r"big\.tif.*first in channel 0 at y 41, x 7"):
        read()


def test_large_finite_values_pass():
    array = np.full((1, 40, 40), 3e38, np.float32)
    ImageSource(Counted(array).image(), channels=1, normalize=NoNormalize())


def test_channels_that_do_not_fit_name_the_file():
    with pytest.raises(DataError, match=r"big\.tif: expected 3 channels.*found 2"):
        ImageSource(Counted(noise(2, 9, 9)).image(), channels=3, normalize=NoNormalize())


def test_an_image_without_voxels_is_refused():
    image = replace(Counted(noise(1, 9, 9)).image(), shape=(1, 0, 9))
    with pytest.raises(DataError, match="at least one voxel"):
        ImageSource(image, channels=1, normalize=NoNormalize())
