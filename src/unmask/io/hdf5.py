"""HDF5 data sets: ``file.h5`` (the only data set) or ``file.h5:key``."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.chunked import Cell, reader
from unmask.io.contract import (
    Content,
    Format,
    Index,
    Location,
    Stored,
    only_level,
    spacing_in_order,
)
from unmask.io.hdf5_chunks import check_all, find_packed_chunks
from unmask.io.hdf5_links import find_sources
from unmask.io.hdf5_sets import bdv_spacing, choose, is_bdv
from unmask.io.voxel_attributes import Voxels, read_voxels

# Where files with one array, ours included, usually keep it.
_DEFAULT_KEY = "data"
# The first bytes of a file in the format before HDF5, which has the same suffix ".hdf".
_HDF4 = b"\x0e\x03\x13\x01"
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def open_hdf5(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Find the data set and read its attributes.

    Axes come from ``axistags`` (ilastik) or dimension labels; voxel size and origin as
    `unmask.io.voxel_attributes` lists them. Images of BigDataViewer are uint16 stored as int16;
    their voxel size is in the XML file next to them.

    Raises:
        DataError: no such data set, several without a key, chunks too large for memory, a filter
            that is not supported, or values in another file.
    """
    only_level(location, level)
    with _open(location) as file:
        dataset = choose(location, file, labels=labels)
        inner = [] if location.allow_external else find_sources(location, file, dataset)
        key = str(dataset.name)
        shape, stored = tuple(dataset.shape), dataset.dtype.newbyteorder("=")
        axes = _axes(dataset)
        if dataset.chunks:
            limits.check_unit(location.source, dataset.chunks, stored.itemsize, name="chunk")
        voxels = read_voxels(dict(dataset.attrs), axes)
        bdv = is_bdv(file, key)
        if bdv:
            axes = "ZYX"
            voxels = Voxels(*bdv_spacing(location, file, key))
        if set(axes) == {"?"} and len(voxels.spacing) == len(shape):
            # A voxel size per axis says that every axis is spatial.
            axes = "ZYX"[-len(shape) :]
        shelf: recent.Shelf[h5py.File] = recent.make_opened_shelf()

        def opened() -> h5py.File:
            return shelf.get_alone("file", lambda: _open(location))

        chunks = find_packed_chunks(location, dataset, location.key or key, opened)
        if dataset.is_virtual:
            check_all(location, inner, opened)
    dtype = np.dtype(np.uint16) if bdv and stored == np.int16 else stored

    def plain(index: Index) -> np.ndarray:
        source: Any = opened()[location.key or key]
        return np.asarray(source[index]).astype(stored, copy=False).view(dtype)

    def chunk(cell: Cell) -> np.ndarray:
        values = chunks.load(cell) if chunks else np.empty(0)
        return values.astype(stored, copy=False).view(dtype)

    return Stored(
        shape,
        dtype,
        axes,
        plain if chunks is None else reader(chunks.chunks, dtype, chunk),
        spacing=voxels.spacing,
        unit=voxels.unit,
        meta={"origin": voxels.origin} if voxels.origin else {},
    )


def save_hdf5(location: Location, content: Content) -> None:
    """Write one data set, chunked, deflated and with a checksum; others in the file are kept."""
    with _renewed(location) as (file, key):
        chunks = _chunks(content.axes, content.array.shape)
        dataset = file.create_dataset(
            key, data=content.array, chunks=chunks, fletcher32=True, **_PACKED
        )
        _describe(dataset, content.axes, content.spacing, content.unit)
        _place(dataset, content.axes, content.meta)


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


def _place(dataset: h5py.Dataset, axes: str, meta: Mapping[str, Any]) -> None:
    """Write the origin of the image that an array belongs to."""
    origin = meta.get("origin", {})
    letters = axes.replace("C", "")
    if origin and all(letter in origin for letter in letters) and "element_size" in dataset.attrs:
        dataset.attrs["offset"] = [origin[letter] for letter in letters]


def _open(location: Location) -> h5py.File:
    with location.path.open("rb") as handle:
        if handle.read(4) == _HDF4:
            raise DataError(
                message(
                    location.source,
                    expected="an HDF5 file",
                    found="HDF4, an older format",
                    do="Convert it with h4toh5.",
                )
            )
    # Without locks, so that reading does not stop others, and read-only mounts work.
    return h5py.File(location.path, "r", locking=False)


def _axes(dataset: h5py.Dataset) -> str:
    labels = [str(dimension.label).upper() for dimension in dataset.dims]
    if "axistags" in dataset.attrs:
        tags = json.loads(str(dataset.attrs["axistags"]))["axes"]
        labels = [str(tag["key"]).upper() for tag in tags]
    known = len(labels) == dataset.ndim and len(set(labels)) == len(labels)
    if known and all(len(label) == 1 and label in "TCZYX" for label in labels):
        return "".join(labels)
    return "?" * dataset.ndim


def _chunks(axes: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    spatial = sum(letter not in "CT" for letter in axes)
    edge = {1: 65536, 2: 256}.get(spatial, 64)
    return tuple(1 if a in "CT" else min(edge, n) for a, n in zip(axes, shape, strict=True))


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
        _place(dataset, stored.axes, stored.meta)


FORMAT = Format("HDF5", open_hdf5, save_hdf5, family=".h5", container=True, copy=copy_hdf5)
