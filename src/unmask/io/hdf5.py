"""HDF5 data sets: ``file.h5`` (the only data set) or ``file.h5:key``."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from unmask.atomic import atomic_path
from unmask.errors import DataError, told
from unmask.io import limits, recent
from unmask.io.chunked import Cell, reader
from unmask.io.stored import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    only_level,
    spacing_in_order,
    unit_symbol,
)

# Where files with one array, ours included, usually keep it.
_DEFAULT_KEY = "data"
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def open_hdf5(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the data set and read its attributes.

    Axes come from ``axistags`` (ilastik) or dimension labels, spacing from ``element_size_um``.

    Raises:
        DataError: no such data set, several without a key, or chunks too large for memory.
    """
    del labels
    only_level(location, level)
    with _open(location) as file:
        dataset = _dataset(location, file)
        key = str(dataset.name)
        shape, dtype = tuple(dataset.shape), dataset.dtype.newbyteorder("=")
        axes = _axes(dataset)
        if dataset.chunks:
            limits.check_unit(location.source, dataset.chunks, dtype.itemsize, name="chunk")
        spacing, unit = _spacing(dataset, axes)
        chunks = dataset.chunks if _packed(dataset) else None
    shelf: recent.Shelf[h5py.File] = recent.opened()

    def plain(index: Index) -> np.ndarray:
        source: Any = shelf.get_alone("file", lambda: _open(location))[key]
        return np.asarray(source[index]).astype(dtype, copy=False)

    def chunk(cell: Cell) -> np.ndarray:
        edges = [
            (a * n, min((a + 1) * n, end))
            for a, n, end in zip(cell, chunks or (), shape, strict=True)
        ]
        return plain(tuple(slice(*edge) for edge in edges))

    read = plain if chunks is None else reader(chunks, dtype, chunk)

    return Stored(shape, dtype, axes, read, spacing=spacing, unit=unit)


def save_hdf5(location: Location, content: Content) -> None:
    """Write one data set, chunked, deflated and with a checksum; others in the file are kept."""
    with _renewed(location) as (file, key):
        chunks = _chunks(content.axes, content.array.shape)
        dataset = file.create_dataset(
            key, data=content.array, chunks=chunks, fletcher32=True, **_PACKED
        )
        _describe(dataset, content.axes, content.spacing, content.unit)


@contextmanager
def _renewed(location: Location) -> Generator[tuple[h5py.File, str], None, None]:
    """The file, written aside, without the data set that is to be written, and its key."""
    key = location.key or _DEFAULT_KEY
    with atomic_path(location.path) as aside:
        if location.path.is_file():
            shutil.copyfile(location.path, aside)
        with h5py.File(aside, "a") as file:
            if key in file:
                del file[key]
            yield file, key


def _describe(
    dataset: h5py.Dataset, axes: str, spacing: tuple[float, ...] | None, unit: str | None
) -> None:
    for axis, letter in enumerate(axes):
        dataset.dims[axis].label = letter.lower()
    if spacing is not None:
        dataset.attrs["element_size"] = spacing
        dataset.attrs["element_size_unit"] = unit or ""
        if unit == "um":
            dataset.attrs["element_size_um"] = spacing


def _open(location: Location) -> h5py.File:
    # Without locks, so that reading does not stop others, and read-only mounts work.
    return h5py.File(location.path, "r", locking=False)


def _dataset(location: Location, file: h5py.File) -> h5py.Dataset:
    names: list[str] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 2:
            names.append(name)

    if location.key:
        found = file.get(location.key)
        if isinstance(found, h5py.Dataset):
            return found
    file.visititems(visit)
    if location.key or len(names) != 1:
        listed = ", ".join(names[:20]) or "none"
        raise DataError(
            told(
                location.source,
                expected=f"the data set {location.key!r}" if location.key else "one data set",
                found=f"these with two axes or more: {listed}",
                do=f"Write {location.path.name}:{names[0] if names else 'KEY'}.",
            )
        )
    found = file[names[0]]
    if not isinstance(found, h5py.Dataset):
        raise TypeError(f"{names[0]} is not a data set")
    return found


def _packed(dataset: h5py.Dataset) -> bool:
    """Chunks cost more than a copy: HDF5's own cache holds a megabyte, less than most boxes."""
    return bool(dataset.chunks and (dataset.compression or dataset.shuffle or dataset.fletcher32))


def _axes(dataset: h5py.Dataset) -> str:
    labels = [str(dimension.label).upper() for dimension in dataset.dims]
    if "axistags" in dataset.attrs:
        tags = json.loads(str(dataset.attrs["axistags"]))["axes"]
        labels = [str(tag["key"]).upper() for tag in tags]
    known = len(labels) == dataset.ndim and len(set(labels)) == len(labels)
    if known and all(len(label) == 1 and label in "TCZYX" for label in labels):
        return "".join(labels)
    return "?" * dataset.ndim


def _spacing(dataset: h5py.Dataset, axes: str) -> tuple[dict[str, float], str | None]:
    attributes: Any = dataset.attrs
    if "element_size" in attributes:
        sizes, unit = attributes["element_size"], attributes.get("element_size_unit", "")
    elif "element_size_um" in attributes:
        sizes, unit = attributes["element_size_um"], "um"
    else:
        return {}, None
    letters = "ZYX"[-len(sizes) :] if "?" in axes else [a for a in "ZYX" if a in axes]
    if len(letters) != len(sizes):
        letters = "ZYX"[-len(sizes) :]
    return dict(zip(letters, map(float, sizes), strict=True)), unit_symbol(unit)


def _chunks(axes: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    spatial = sum(letter != "C" for letter in axes)
    edge = {1: 65536, 2: 256}.get(spatial, 64)
    return tuple(1 if a == "C" else min(edge, n) for a, n in zip(axes, shape, strict=True))


def copy_hdf5(location: Location, stored: Stored) -> None:
    """Write one data set chunk by chunk; others in the file are kept."""
    with _renewed(location) as (file, key):
        chunks = _chunks(stored.axes, stored.shape)
        dataset = file.create_dataset(
            key, stored.shape, stored.dtype, chunks=chunks, fletcher32=True, **_PACKED
        )
        for corner in itertools.product(*map(range, (0,) * len(chunks), stored.shape, chunks)):
            edges = zip(corner, chunks, stored.shape, strict=True)
            index = tuple(slice(a, min(a + n, end)) for a, n, end in edges)
            dataset[index] = stored.read(index)
        _describe(dataset, stored.axes, spacing_in_order(stored), stored.unit)


FORMAT = Format("HDF5", open_hdf5, save_hdf5, family=".h5", container=True, copy=copy_hdf5)
