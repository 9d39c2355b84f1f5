"""Contract of file formats: what is written comes back, and damage is noticed."""

from __future__ import annotations

from collections.abc import Generator
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import FORMATS, added, open_image, open_labels, save_image
from unmask.io.formats import FORMATS as _TABLE
from unmask.space.box import Box
from unmask.testing.base import Contract
from unmask.testing.example_files import WRITERS, write_example

SPACES = {2: (23, 37), 3: (7, 13, 17)}
AXES = {2: "YX", 3: "ZYX"}
_TYPES = ("uint8", "uint16", "float32")


class FormatContract(Contract):
    """Values, parts, labels and damage of a format, in 2D and 3D.

    ``part`` is a suffix such as ``.png``, a `Format`, or ``path/to/file.py:Name`` of one. A format
    may refuse types or numbers of axes that it cannot hold, with a `DataError`.

    Attributes:
        write: override it where files are only read; it makes a file of the format.
        types: number types that come back exactly.
        channels: of a file that holds a gray image; formats of color have three equal ones.
    """

    channels: ClassVar[int] = 1
    types: ClassVar[tuple[str, ...]] = _TYPES

    @pytest.fixture(autouse=True)
    def _add_format(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        if isinstance(self.chosen, str) and self.chosen in FORMATS:
            self.suffix, self.form = self.chosen, _TABLE[self.chosen]
            yield
            return
        monkeypatch.setattr(added, "ADDED", {})
        added.use_formats([self.chosen])
        self.suffix, self.form = next(iter(added.ADDED.items()))
        yield

    def write(self, path: Path, array: np.ndarray, axes: str) -> None:
        """Make a file that holds an array."""
        if self.form.save is None and self.suffix not in WRITERS:
            pytest.skip("files are only read: override write")
        try:
            if self.form.save is None:
                write_example(path, array, axes)
            else:
                save_image(path, array, axes=axes)
        except DataError as error:
            pytest.skip(f"refused: {error}")

    def _array(self, ndim: int, dtype: str = "uint8") -> np.ndarray:
        return np.random.default_rng(3).integers(0, 200, SPACES[ndim]).astype(dtype)

    def _path(self, folder: Path) -> Path:
        return folder / f"image{self.suffix}"

    def test_description(self) -> None:
        """A name for messages, and suffixes that begin with a dot."""
        assert self.form.name
        assert self.suffix.startswith(".")
        assert self.form.family.startswith(".")

    def test_something_can_be_written(self, tmp_path: Path) -> None:
        """A format that is written holds at least one type with one number of axes."""
        if self.form.save is None:
            pytest.skip("files are only read")
        refused = []
        for ndim, dtype in product(SPACES, self.types):
            try:
                save_image(self._path(tmp_path), self._array(ndim, dtype), axes=AXES[ndim])
            except DataError as error:
                refused.append(str(error))
        assert len(refused) < len(SPACES) * len(self.types), refused

    @pytest.mark.parametrize("ndim", SPACES)
    @pytest.mark.parametrize("dtype", _TYPES)
    def test_values_come_back(self, tmp_path: Path, ndim: int, dtype: str) -> None:
        """The same values, in native byte order."""
        if dtype not in self.types:
            pytest.skip(f"not for {dtype}")
        array = self._array(ndim, dtype)
        self.write(self._path(tmp_path), array, AXES[ndim])
        image = open_image(self._path(tmp_path), ndim=ndim)
        assert (image.name, image.shape) == ("image", (self.channels, *array.shape))
        values = image.read()
        assert values.dtype == image.dtype
        assert values.dtype.isnative
        if not self.form.lossy:
            np.testing.assert_array_equal(values, np.broadcast_to(array, image.shape))

    @pytest.mark.parametrize("ndim", SPACES)
    def test_a_part_equals_that_part_of_the_whole(self, tmp_path: Path, ndim: int) -> None:
        """Reading a part gives a new array, which may be written to."""
        self.write(self._path(tmp_path), self._array(ndim), AXES[ndim])
        image = open_image(self._path(tmp_path), ndim=ndim)
        whole = image.read().copy()
        box = Box((2,) * ndim, tuple(n - 1 for n in SPACES[ndim]))
        part = image.read(box)
        np.testing.assert_array_equal(part, whole[(slice(None), *box.slices)])
        part += 1
        np.testing.assert_array_equal(image.read(), whole)

    @pytest.mark.parametrize("ndim", SPACES)
    def test_labels_keep_their_ids(self, tmp_path: Path, ndim: int) -> None:
        """Label images are read as ids, whatever an image of this format means."""
        if self.form.lossy:
            pytest.skip("lossy")
        array = self._array(ndim)
        self.write(self._path(tmp_path), array, AXES[ndim])
        np.testing.assert_array_equal(open_labels(self._path(tmp_path), ndim=ndim).read()[0], array)

    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, kept: float) -> None:
        """Half a file is an error that names the file, not an image."""
        path = self._path(tmp_path)
        if self.form.folder:
            pytest.skip("a folder of files")
        self.write(path, self._array(2), "YX")
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))])
        with pytest.raises(DataError, match="image"):
            open_image(path, ndim=2).read()

    def test_spacing_comes_back_or_is_unknown(self, tmp_path: Path) -> None:
        """A format has a place for the voxel size, or says that it is unknown."""
        if self.form.save is None:
            pytest.skip("files are only read")
        try:
            save_image(self._path(tmp_path), self._array(3), spacing=(2.5, 0.5, 0.25), unit="um")
        except DataError as error:
            pytest.skip(f"refused: {error}")
        image = open_image(self._path(tmp_path), ndim=3)
        assert image.spacing is None or image.spacing == pytest.approx((2.5, 0.5, 0.25))
