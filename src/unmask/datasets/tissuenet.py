"""TissueNet: cells and nuclei in tissue, two channels, from NumPy archives."""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from unmask.datasets.dataset import DataSet, Item
from unmask.datasets.files import expect_some, list_files, match_files
from unmask.datasets.samples import Sample, sample_item
from unmask.errors import DataError, message

_TARGETS = {"cells": 0, "nuclei": 1}
# All images were resized to this by the authors.
_MICRONS = (0.5, 0.5)


def find(archive: Path, *, target: str = "cells") -> list[Item]:
    """List the images of the official parts.

    Args:
        archive: folder of tissuenet_v1.1_train.npz and so on.
        target: ``cells`` or ``nuclei``.

    Raises:
        DataError: no files, or files of another content.
    """
    if target not in _TARGETS:
        raise DataError(
            f"target={target}: expected {' or '.join(_TARGETS)}, found neither. Choose one."
        )
    found = match_files(list_files(archive), r"tissuenet_v[\d.]+_(train|val|test)\.npz")
    expect_some(found, archive, "tissuenet_v1.1_train.npz, _val.npz and _test.npz")
    order = ("train", "val", "test")
    items = []
    for path, match in sorted(found.items(), key=lambda pair: order.index(pair[1][1].lower())):
        part = match[1].lower()
        images, labels = _Member(path, "X.npy"), _Member(path, "y.npy")
        if labels.shape[:3] != images.shape[:3] or len(images.shape) != 4:
            raise DataError(
                message(
                    path,
                    expected="X and y of axes (image, y, x, channel) and one size",
                    found=f"{images.shape} and {labels.shape}",
                    do="Download it again.",
                )
            )
        items += [
            sample_item(part, f"{part}_{n:04}", partial(_read, images, labels, n, _TARGETS[target]))
            for n in range(images.shape[0])
        ]
    return items


class _Member:
    """An array of an .npz file whose first axis is read forward: it does not fit into memory."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._stream = self._open()

    def _open(self) -> IO[bytes]:
        try:
            stream = zipfile.ZipFile(self._path).open(self._name)  # noqa: SIM115 - kept open
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0
            if version[0] > 1:
                read = np.lib.format.read_array_header_2_0
            self.shape, fortran, self.dtype = read(stream)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        if fortran or self.dtype.hasobject:
            raise self._broken(f"{self._name} of {self.dtype}")
        self._next = 0
        return stream

    def read(self, number: int) -> np.ndarray:
        """Read one image; going back reads from the start again."""
        if number < self._next:
            self._stream = self._open()
        size = prod(self.shape[1:]) * self.dtype.itemsize
        try:
            while self._next < number:
                self._stream.read(size)
                self._next += 1
            data = self._stream.read(size)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        self._next += 1
        if len(data) != size:
            raise self._broken(f"{self._name} that ends at image {number}")
        return np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def _broken(self, found: str) -> DataError:
        return DataError(
            message(
                self._path,
                expected="a whole .npz file with the arrays X and y",
                found=found,
                do="Download it again.",
            )
        )


def _read(images: _Member, labels: _Member, number: int, target: int) -> Sample:
    """Channels are nuclei, then membranes; labels are cells, then nuclei."""
    image = np.moveaxis(images.read(number), -1, 0).astype(np.float32)
    ids = labels.read(number)[..., target]
    return Sample(image, ids.astype(np.int64), spacing=_MICRONS, unit="um")


SET = DataSet(
    name="tissuenet",
    title="Cells and nuclei in tissue, channels for nuclei and membranes (TissueNet)",
    license="modified Apache License 2.0 of the authors, non-commercial academic use",
    citation="doi:10.1038/s41587-021-01094-0",
    source="https://datasets.deepcell.org/data",
    archive="tissuenet_v1.1.zip: tissuenet_v1.1_{train,val,test}.npz",
    find=find,
    counts={"train": (2580,), "val": (3118,), "test": (1324,)},
    sizes=((512, 512), (256, 256)),
    preset="cells",
    more=("--set", "data.channels=2"),
)
