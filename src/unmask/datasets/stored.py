"""Volumes of archives that are copied in parts: data sets of HDF5 files, and folders of slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from unmask.datasets.samples import read_labels, size_of
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.space.spacing import check_spacing

Fetch = Callable[[slice], np.ndarray]
_AXES = "ZYX"


def volume(
    path: Path,
    shape: Sequence[int],
    fetch: Fetch,
    *,
    dtype: np.dtype,
    spacing: Sequence[float] | None,
    unit: str | None,
) -> Image:
    """Make an image of one channel whose slices are read on demand.

    Args:
        path: where it comes from, for messages.
        shape: ``(z, y, x)``.
        fetch: reads whole slices ``(z, y, x)``.
        dtype: of the values.
        spacing: voxel size.
        unit: of ``spacing``.
    """
    last: dict[tuple[int, int], np.ndarray] = {}

    def read(index: tuple[slice, ...]) -> np.ndarray:
        _, z, y, x = index
        # Files are written tile by tile, and a slice must not be decoded once per tile.
        if (z.start, z.stop) not in last:
            values = fetch(z)
            last.clear()
            last[z.start, z.stop] = values
        return np.ascontiguousarray(last[z.start, z.stop][:, y, x][None], dtype)

    return Image(
        shape=(1, *shape),
        dtype=np.dtype(dtype),
        axes=f"C{_AXES}",
        source=str(path),
        name=path.stem,
        fetch=read,
        spacing=check_spacing(spacing, len(_AXES), source=str(path)),
        unit=unit,
    )


def hdf5_volume(
    path: Path,
    key: str,
    *,
    slices: tuple[int | None, int | None] = (None, None),
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> Image:
    """Open a data set ``(z, y, x)`` of an HDF5 file.

    Args:
        path: the file.
        key: name of the data set.
        slices: first and last slice (exclusive); negative ones count from the end.
        spacing: voxel size.
        unit: of ``spacing``.

    Raises:
        DataError: no such file or data set, another number of axes, or too few slices.
    """
    with open_hdf5(path) as file:
        found = file.get(key)
        if not isinstance(found, h5py.Dataset) or found.ndim != len(_AXES):
            text = f"shape {found.shape}" if isinstance(found, h5py.Dataset) else _keys(file)
            raise DataError(
                message(
                    path,
                    expected=f"a data set {key} of axes (z, y, x)",
                    found=text,
                    do="Get the official file again.",
                )
            )
        depth, height, width = found.shape
        dtype = found.dtype.newbyteorder("=")
    least = max(abs(each) for each in (*slices, 1) if each is not None)
    if depth < least:
        raise DataError(
            message(
                path,
                expected=f"{least} slices or more",
                found=f"{depth}",
                do="Get the whole volume.",
            )
        )
    first, last, _ = slice(*slices).indices(depth)

    def fetch(part: slice) -> np.ndarray:
        with open_hdf5(path) as file:
            dataset = file[key]
            assert isinstance(dataset, h5py.Dataset)  # noqa: S101 - it was one when it was opened
            return np.asarray(dataset[first + part.start : first + part.stop])

    return volume(
        path, (last - first, height, width), fetch, dtype=dtype, spacing=spacing, unit=unit
    )


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(
            message(
                path,
                expected="a whole HDF5 file",
                found=str(error) if path.exists() else "nothing",
                do="Download it again.",
            )
        ) from error


def slices_volume(
    paths: Sequence[Path], *, spacing: Sequence[float], unit: str, dtype: np.dtype
) -> Image:
    """Open a volume of which every slice is a file, in the given order.

    Raises:
        DataError: slices of different sizes, named; or a file that is not an image.
    """
    size = size_of(paths[0])
    strange = [path for path in paths if size_of(path) != size]
    if strange:
        raise DataError(
            message(
                strange[0],
                expected=f"slices of one size, {size} as {paths[0].name}",
                found=f"{size_of(strange[0])} in {len(strange)} of {len(paths)}",
                do="Download the archive again.",
            )
        )

    def fetch(part: slice) -> np.ndarray:
        return np.stack([read_labels(path) for path in paths[part]])

    return volume(paths[0], (len(paths), *size), fetch, dtype=dtype, spacing=spacing, unit=unit)


def _keys(file: h5py.File) -> str:
    names: list[str] = []
    file.visit(names.append)
    return f"the names {', '.join(names[:6]) or 'none'}"
