"""Metadata of Zarr stores and OME-Zarr (NGFF 0.1 to 0.5): read, checked, nothing is guessed.

Metadata are read from files of the store only, and are at most 10 MiB. What is missing is unknown;
what has the wrong type, or contradicts itself, is an error that names the entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io.contract import METERS, Location, unit_symbol
from unmask.io.outside import check_inside
from unmask.io.voxel_attributes import Voxels

# Metadata is a page; a larger one is an attack or a mistake.
_METADATA_LIMIT = 10 * 2**20
_FILES = ("zarr.json", ".zattrs", ".zarray", ".zgroup")
_WORDS = {"channel": "C", "time": "T"}


@dataclass(frozen=True)
class Multiscale:
    """An image of several resolution levels.

    Attributes:
        paths: arrays, the finest first, relative to the group.
        axes: one letter per axis, ``?`` if it has no known name; "" if there are no names.
        voxels: voxel size and origin of every level.
        channels: names of the channels, if the file has any.
    """

    paths: tuple[str, ...]
    axes: str
    voxels: tuple[Voxels, ...]
    channels: tuple[str, ...] = field(default=())


def read_attributes(location: Location, folder: Path) -> dict[str, Any]:
    """Attributes of a group or array, those of OME at the top.

    Raises:
        DataError: no metadata, or files that are too large, damaged or outside of the store.
    """
    check_inside(location, folder)
    for name in _FILES:
        file = folder / name
        if file.is_file():
            content = _read_json(location, file)
            attributes = content.get("attributes", {}) if name == "zarr.json" else content
            if not isinstance(attributes, Mapping):
                raise _broken(location, f"attributes that are a {type(attributes).__name__}")
            ome = attributes.get("ome", {})
            return {**attributes, **(ome if isinstance(ome, Mapping) else {})}
    raise DataError(
        message(
            location.source,
            expected="an OME-Zarr image or a Zarr array",
            found=f"no Zarr metadata in {folder}",
            do="Give the folder that holds zarr.json, .zattrs or .zarray.",
        )
    )


def _read_json(location: Location, file: Path) -> Mapping[str, Any]:
    check_inside(location, file)
    size = file.stat().st_size
    if size > _METADATA_LIMIT:
        raise DataError(
            message(
                location.source,
                expected="metadata of at most 10 MiB",
                found=f"{file.name} of {size} bytes",
                do="The store is damaged; export it again.",
            )
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken(location, f"{file.name} that is not JSON ({error})") from error
    if not isinstance(content, Mapping):
        raise _broken(location, f"{file.name} that holds a {type(content).__name__}")
    return content


def read_multiscale(location: Location, attributes: Mapping[str, Any]) -> Multiscale | None:
    """The first image of the attributes; None if there is none.

    Raises:
        DataError: an entry of the wrong type, or numbers that do not fit the axes.
    """
    if "multiscales" not in attributes:
        return None
    found = _sequence(location, attributes, "multiscales")
    if not found:
        raise _broken(location, "an empty list of multiscales")
    image = _mapping(location, found[0], "multiscales[0]")
    datasets = [
        _mapping(location, each, "datasets") for each in _sequence(location, image, "datasets")
    ]
    paths = [each.get("path") for each in datasets]
    if not paths or not all(isinstance(path, str) for path in paths):
        raise _broken(location, f"datasets with the paths {paths}")
    axes = [_axis(location, each) for each in _sequence(location, image, "axes")]
    letters = _letters(axes)
    voxels = [_voxels(location, axes, letters, (image, each)) for each in datasets]
    return Multiscale(
        tuple(map(str, paths)), letters, tuple(voxels), _channel_names(attributes.get("omero"))
    )


def _axis(location: Location, axis: Any) -> Mapping[str, Any]:
    # Version 0.3 and older gave names only.
    return {"name": axis} if isinstance(axis, str) else _mapping(location, axis, "axes")


def _letters(axes: Sequence[Mapping[str, Any]]) -> str:
    """One letter per axis; ``?`` for names that are not known or used twice."""
    letters = []
    for axis in axes:
        name = str(axis.get("name", "")).upper()
        letters.append(name if name in tuple("TCZYX") else _WORDS.get(str(axis.get("type")), "?"))
    return "".join(a if a == "?" or letters.count(a) == 1 else "?" for a in letters)


def _voxels(
    location: Location,
    axes: Sequence[Mapping[str, Any]],
    letters: str,
    holders: Sequence[Mapping[str, Any]],
) -> Voxels:
    """Voxel size and origin of a level: its own transformations, then those of all levels."""
    if not axes:
        return Voxels()
    image, dataset = holders
    scale, origin = np.ones(len(axes)), np.zeros(len(axes))
    known = moved = False
    for holder in (dataset, image):
        for each in _sequence(location, holder, "coordinateTransformations"):
            step = _mapping(location, each, "coordinateTransformations")
            kind = step.get("type")
            if kind not in ("scale", "translation") or kind not in step:
                continue
            numbers = _numbers(location, step[str(kind)], kind, len(axes))
            known, moved = known or kind == "scale", moved or kind == "translation"
            scale, origin = (
                (scale * numbers, origin * numbers)
                if kind == "scale"
                else (scale, origin + numbers)
            )
    units = {a: unit_symbol(axis.get("unit")) for a, axis in zip(letters, axes, strict=True)}
    space = [a for a in letters if a in "ZYX"]
    unit, factors = _common_unit({a: units[a] for a in space})
    sizes = {a: float(n) * factors.get(a, 1.0) for a, n in zip(letters, scale, strict=True)}
    # Ones without a unit are what a missing voxel size looks like.
    if not known or (unit is None and all(sizes[a] == 1 for a in space)):
        return Voxels()
    first = {a: float(n) * factors.get(a, 1.0) for a, n in zip(letters, origin, strict=True)}
    return Voxels({a: sizes[a] for a in space}, unit, {a: first[a] for a in space} if moved else {})


def _common_unit(units: Mapping[str, str | None]) -> tuple[str | None, dict[str, float]]:
    """The unit of the last axis, and factors that bring the other axes to it."""
    symbols = list(units.values())
    if not symbols or any(symbol not in METERS for symbol in symbols):
        return None, {}
    last = str(symbols[-1])
    return last, {a: 1.0 if u == last else METERS[str(u)] / METERS[last] for a, u in units.items()}


def _channel_names(omero: Any) -> tuple[str, ...]:
    """Labels of the channels; none if the file has none or they are not text."""
    channels = omero.get("channels") if isinstance(omero, Mapping) else None
    if not isinstance(channels, Sequence) or isinstance(channels, str):
        return ()
    labels = [each.get("label") if isinstance(each, Mapping) else None for each in channels]
    return tuple(map(str, labels)) if labels and all(isinstance(a, str) for a in labels) else ()


def axis_names(attributes: Mapping[str, Any], ndim: int) -> str:
    """Letters of a plain array, out of the attributes of xarray and funlib; ``?`` if unknown."""
    for name in ("axis_names", "_ARRAY_DIMENSIONS"):
        value = attributes.get(name)
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == ndim:
            letters = [str(each).upper() for each in value]
            if all(a in tuple("TCZYX") for a in letters) and len(set(letters)) == ndim:
                return "".join(letters)
    return "?" * ndim


def _numbers(location: Location, value: Any, kind: Any, count: int) -> np.ndarray:
    try:
        numbers = np.asarray(value, float)
    except (TypeError, ValueError) as error:
        raise _broken(location, f"a {kind} of {str(value)[:80]}") from error
    if numbers.shape != (count,):
        raise _broken(location, f"a {kind} of {numbers.size} numbers for {count} axes")
    return numbers


def _sequence(location: Location, holder: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = holder.get(name) or ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _broken(location, f"{name} that is a {type(value).__name__}")
    return value


def _mapping(location: Location, value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _broken(location, f"{name} with a {type(value).__name__}")
    return value


def _broken(location: Location, found: str) -> DataError:
    return DataError(
        message(
            location.source,
            expected="OME-Zarr metadata as the format defines them",
            found=found,
            do="The metadata are damaged; export the image again.",
        )
    )
