"""MINC 1 (netCDF) and MINC 2 (HDF5), the volumes of the Montreal Neurological Institute (.mnc).

nibabel reads the format as float64 and follows links into other files, so it is not used here. The
format: https://en.wikibooks.org/wiki/MINC/Reference
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import h5py
import numpy as np

from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.chunked import reader
from unmask.io.contract import (
    Format,
    Index,
    Location,
    Stored,
    check_file,
    file_error,
    only_level,
    signature,
)
from unmask.io.hdf5_chunks import find_packed_chunks
from unmask.io.hdf5_links import find, find_sources
from unmask.io.placed import make_affine, placed_volume

_LETTERS = {"zspace": "Z", "yspace": "Y", "xspace": "X", "time": "T", "vector_dimension": "C"}
_COSINES = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
_NETCDF = b"CDF"
_IMAGE = "minc-2.0/image/0"


@dataclass(frozen=True)
class _Volume:
    """What both versions of the format say of an image.

    Attributes:
        names: of its axes, slow axis first.
        shape: of the stored array.
        stored: type of the stored values.
        read: stored values of a box.
        attributes: of the image.
        axes: attributes of every axis by its name.
        low: real value of the smallest stored value, for each of the first axes.
        high: real value of the largest one.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    read: Callable[[Index], np.ndarray]
    attributes: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Any]]
    low: np.ndarray
    high: np.ndarray


def open_minc(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header; real values are computed from ``image-min`` and ``image-max``.

    Integers whose real values are themselves stay integers, so that ids are kept.

    Raises:
        DataError: damaged, no image, unknown axes, or values in another file.
    """
    del labels
    only_level(location, level)
    with location.path.open("rb") as handle:
        netcdf = handle.read(3) == _NETCDF
    volume = _open_netcdf(location) if netcdf else _open_hdf5(location)
    letters = "".join(_LETTERS.get(name, "?") for name in volume.names)
    if "?" in letters or len({*letters}) < len(letters) or not set("YX") <= {*letters}:
        raise _refused(location, "the axes zspace, yspace and xspace", ", ".join(volume.names))
    dtype, read = _scaled(location, volume)
    if set("ZYX") - {*letters}:
        sizes = {a: abs(_step(volume, a)) for a in letters if a in "ZYX"}
        return Stored(volume.shape, dtype, letters, read, sizes, "mm")
    # Axes come in any order; the canonical one has space last.
    order = sorted(range(len(letters)), key=lambda axis: "TCZYX".index(letters[axis]))
    shape = tuple(volume.shape[axis] for axis in order)
    lead = "".join(letters[axis] for axis in order[:-3])

    def arranged(index: Index) -> np.ndarray:
        back = tuple(index[order.index(axis)] for axis in range(len(order)))
        return np.ascontiguousarray(read(back).transpose(order))

    cosines = [_cosines(location, volume, axis) for axis in "XYZ"]
    starts = [_number(volume, axis, "start", 0.0) for axis in "XYZ"]
    steps = np.array([_step(volume, axis) for axis in "XYZ"])
    origin = np.array(starts) @ np.array(cosines)
    affine = make_affine(np.array(cosines) * steps[:, None], origin)
    return placed_volume(location.source, shape, dtype, arranged, affine, lead=lead)


def _open_netcdf(location: Location) -> _Volume:
    # scipy.io takes 0.1 s to import.
    from scipy.io import netcdf_file

    mark = signature(location.path)
    shelf: recent.Shelf[Any] = recent.make_opened_shelf()

    def opened() -> Any:
        return shelf.get_alone("file", lambda: netcdf_file(location.path, "r", mmap=True))

    variables = opened().variables
    image = variables.get("image")
    if image is None:
        raise _refused(location, "a variable image", ", ".join(variables) or "none")
    kind, signed = np.dtype(image.data.dtype), _word(vars(image).get("signtype", b""))
    if kind.kind in "iu":
        # netCDF has no unsigned types; bytes without a word about it are unsigned.
        letter = "u" if signed == "unsigned" or (not signed and kind.itemsize == 1) else "i"
        kind = np.dtype(f"{kind.byteorder}{letter}{kind.itemsize}".replace("|", ""))
    native = kind.newbyteorder("=")

    def read(index: Index) -> np.ndarray:
        check_file(location, mark)
        return opened().variables["image"].data[index].view(kind).astype(native)

    return _Volume(
        tuple(image.dimensions),
        tuple(image.data.shape),
        native,
        read,
        _attributes(image),
        {name: _attributes(variables[name]) for name in image.dimensions if name in variables},
        *(
            np.array(variables[name].data, float) if name in variables else np.empty(0)
            for name in ("image-min", "image-max")
        ),
    )


def _attributes(variable: Any) -> dict[str, Any]:
    return dict(vars(variable)["_attributes"].items())


def _open_hdf5(location: Location) -> _Volume:
    shelf: recent.Shelf[h5py.File] = recent.make_opened_shelf()

    def opened() -> h5py.File:
        return shelf.get_alone("file", lambda: h5py.File(location.path, "r", locking=False))

    file, key = opened(), f"{_IMAGE}/image"
    image = find(location, file, key)
    if not isinstance(image, h5py.Dataset) or image.dtype.kind not in "uif":
        raise _refused(location, f"an array {key}", "none")
    find_sources(location, file, image)
    if image.chunks:
        limits.check_unit(location.source, image.chunks, image.dtype.itemsize, name="chunk")
    names = tuple(_word(image.attrs.get("dimorder", b"")).split(","))
    if len(names) != image.ndim:
        raise _refused(location, f"{image.ndim} names of axes", f"{names}")
    native = image.dtype.newbyteorder("=")
    chunks = find_packed_chunks(location, image, key, opened)

    def plain(index: Index) -> np.ndarray:
        values: Any = opened()[key]
        return np.asarray(values[index]).astype(native, copy=False)

    read = plain
    if chunks is not None:
        read = reader(chunks.chunks, native, lambda cell: chunks.load(cell).astype(native))
    axes = {}
    for name in names:
        entry = find(location, file, f"minc-2.0/dimensions/{name}")
        axes[name] = {} if entry is None else dict(entry.attrs)
    ends = []
    for name in ("image-min", "image-max"):
        values = find(location, file, f"{_IMAGE}/{name}")
        small = isinstance(values, h5py.Dataset) and prod(values.shape) <= prod(image.shape[:2])
        if small and find_sources(location, file, values):
            ends.append(np.array(values[()], float))
        else:
            ends.append(np.empty(0))
    return _Volume(
        names, tuple(image.shape), native, read, dict(image.attrs), axes, ends[0], ends[1]
    )


def _scaled(
    location: Location, volume: _Volume
) -> tuple[np.dtype[Any], Callable[[Index], np.ndarray]]:
    """Real values: the valid range of stored values is mapped to image-min and image-max."""
    if volume.stored.kind == "f" or not volume.low.size or volume.low.shape != volume.high.shape:
        return volume.stored, volume.read
    lead = volume.low.ndim
    if lead > 2 or volume.low.shape != volume.shape[:lead]:
        raise _refused(location, "image-min and image-max per slice", f"{volume.low.shape}")
    low, high = _valid_range(location, volume)
    slope = (volume.high - volume.low) / (high - low)
    inter = volume.low - low * slope
    if not (np.isfinite(slope).all() and np.isfinite(inter).all()):
        raise _refused(location, "finite image-min and image-max", "others")
    if np.allclose(slope, 1, atol=1e-9) and np.allclose(inter, 0, atol=1e-6):
        return volume.stored, volume.read
    dtype = np.dtype(np.float32 if volume.stored.itemsize <= 2 else np.float64)

    def read(index: Index) -> np.ndarray:
        rest = (None,) * (len(index) - lead)
        factor, shift = (values[(*index[:lead], *rest)].astype(dtype) for values in (slope, inter))
        return volume.read(index).clip(low, high).astype(dtype) * factor + shift

    return dtype, read


def _valid_range(location: Location, volume: _Volume) -> tuple[float, float]:
    info = np.iinfo(volume.stored)
    given = volume.attributes.get("valid_range")
    if given is None:
        ends = [volume.attributes.get(name) for name in ("valid_min", "valid_max")]
        given = (info.min, info.max) if None in ends else ends
    low, high = (float(number) for number in np.asarray(given, float).ravel()[:2])
    if not info.min <= low < high <= info.max:
        raise _refused(location, f"a valid range inside {info.min} to {info.max}", f"{low}, {high}")
    return low, high


def _number(volume: _Volume, letter: str, name: str, default: float) -> float:
    axis = next(key for key, value in _LETTERS.items() if value == letter)
    value = volume.axes.get(axis, {}).get(name, default)
    return float(np.asarray(value, float).ravel()[0])


def _step(volume: _Volume, letter: str) -> float:
    return _number(volume, letter, "step", 1.0)


def _cosines(location: Location, volume: _Volume, letter: str) -> np.ndarray:
    axis = next(key for key, value in _LETTERS.items() if value == letter)
    given = volume.axes.get(axis, {}).get("direction_cosines", _COSINES[letter])
    numbers = np.asarray(given, float).ravel()
    if numbers.shape != (3,):
        raise _refused(location, f"three direction cosines of {axis}", f"{numbers.tolist()}")
    return numbers


def _word(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.strip("\0_ ")


_refused = partial(file_error, do="Copy or export the file again.")


FORMAT = Format("MINC", open_minc, family=".nii.gz")
