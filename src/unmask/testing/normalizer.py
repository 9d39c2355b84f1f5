"""Contract of normalizers: measured once, then every crop alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unmask.data import NORMALIZERS
from unmask.data.normalize import Measured, Normalizer
from unmask.testing.base import Contract

SPACES = {2: (19, 14), 3: (5, 9, 8)}
_TYPES = ("uint8", "uint16", "int16", "float32")


@pytest.mark.parametrize("ndim", SPACES)
class NormalizerContract(Contract):
    """Crops of one image fit together, for images of any number type, in 2D and 3D.

    Attributes:
        channels: of the images.
    """

    channels = 3

    def build(self) -> Normalizer:
        """The normalizer."""
        return self.build_from(NORMALIZERS, "normalizer")

    def _image(self, ndim: int, dtype: str = "uint8") -> np.ndarray:
        rng = np.random.default_rng(5)
        return rng.integers(0, 255, (self.channels, *SPACES[ndim])).astype(dtype)

    def test_protocol(self, ndim: int) -> None:
        """Measuring gives what can be applied."""
        normalizer = self.build()
        assert isinstance(normalizer, Normalizer)
        assert isinstance(normalizer.measure(self._image(ndim)), Measured)

    @pytest.mark.parametrize("dtype", _TYPES)
    def test_crops_fit_together(self, ndim: int, dtype: str) -> None:
        """A crop has the values that it has in the whole image, as new contiguous float32."""
        image = self._image(ndim, dtype)
        before = image.copy()
        measured: Any = self.build().measure(image)
        whole = measured.apply(image)
        inside = (slice(None), *(slice(1, n // 2 + 1) for n in SPACES[ndim]))
        crop = measured.apply(image[inside])
        assert whole.dtype == crop.dtype == np.float32
        assert crop.flags.c_contiguous
        assert not np.shares_memory(whole, image)
        assert np.isfinite(whole).all()
        np.testing.assert_array_equal(crop, whole[inside])
        np.testing.assert_array_equal(image, before)

    def test_undefined_values_are_counted(self, ndim: int) -> None:
        """NaN and infinity do not change what other values become; the caller refuses the file."""
        image = self._image(ndim, "float32")
        image[0].flat[:2] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            measured: Any = self.build().measure(image)
            values = measured.apply(image)
        assert measured.undefined == 2
        assert np.isfinite(values[np.isfinite(image)]).all()
        assert np.isnan(values[0].flat[0])

    @pytest.mark.parametrize("value", [0, 7, 255])
    def test_constant_images_are_finite(self, ndim: int, value: int) -> None:
        """A constant image has no range to divide by."""
        image = np.full((self.channels, *SPACES[ndim]), value, np.uint8)
        measured: Any = self.build().measure(image)
        assert np.isfinite(measured.apply(image)).all()
