"""Voxel size and origin in the attributes of HDF5, N5 and Zarr arrays.

- ``element_size`` and ``element_size_unit`` (this package): z, y, x.
- ``element_size_um`` (ilastik and others): z, y, x in um.
- ``transform`` with ``axes``, ``scale``, ``translate`` and ``units`` (CellMap).
- ``pixelResolution`` (N5 viewers): x, y, z, in the ``unit`` that it states, otherwise in nm.
- ``resolution`` or ``voxel_size``, with ``offset`` (CREMI, MALA, funlib, gunpowder): z, y, x, in
  ``unit`` or ``units``; without one of these in nm.

An ``offset`` is in the unit of the voxel size. It is the position of the first voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmask.io.contract import unit_symbol

_SPACE = "ZYX"
# CREMI, MALA and funlib state no unit; their numbers are nanometers.
_DEFAULT_UNIT = "nm"


@dataclass(frozen=True)
class Voxels:
    """Voxel size and origin.

    Attributes:
        spacing: voxel size per axis letter; empty if unknown.
        unit: short symbol, of ``spacing`` and ``origin``.
        origin: position of the first voxel per axis letter; empty if unknown.
    """

    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    origin: Mapping[str, float] = field(default_factory=dict)


def read_voxels(attributes: Mapping[str, Any], axes: str) -> Voxels:
    """Voxel size and origin, by the first convention of the table above that is there.

    Args:
        attributes: of the array; values of unexpected types count as absent.
        axes: one letter per axis of the array, ``?`` if unknown.

    Examples:
        >>> read_voxels({"resolution": [40, 4, 4]}, "???").spacing
        {'Z': 40.0, 'Y': 4.0, 'X': 4.0}
    """
    transform = attributes.get("transform")
    if isinstance(transform, Mapping):
        return _of_transform(transform)
    names = ("element_size", "element_size_um", "pixelResolution", "resolution", "voxel_size")
    for name in names:
        value = attributes.get(name)
        numbers = _numbers(value.get("dimensions") if isinstance(value, Mapping) else value)
        if not numbers or min(numbers) <= 0:
            continue
        units = _units(attributes, name)
        if name == "pixelResolution":
            numbers = numbers[::-1]
        if len(units) > 1 or (set(numbers) == {1.0} and not units):
            # Ones without a unit are what a missing voxel size looks like.
            return Voxels()
        if not units and not name.startswith("element_size"):
            units = {_DEFAULT_UNIT}
        origin = _numbers(attributes.get("offset"))
        return Voxels(
            _by_letter(numbers, axes),
            unit_symbol(next(iter(units), None)),
            _by_letter(origin, axes) if len(origin) == len(numbers) else {},
        )
    return Voxels()


def _units(attributes: Mapping[str, Any], name: str) -> set[str]:
    """Units of a voxel size, without repetitions; empty if none is stated."""
    if name == "element_size_um":
        return {"um"}
    if name == "element_size":
        return _symbols(attributes.get("element_size_unit"))
    value = attributes[name]
    own = value.get("unit") if isinstance(value, Mapping) else None
    return _symbols(own or attributes.get("units", attributes.get("unit")))


def _of_transform(transform: Mapping[str, Any]) -> Voxels:
    letters = [str(name).upper() for name in _items(transform.get("axes"))]
    sizes, origin = _numbers(transform.get("scale")), _numbers(transform.get("translate"))
    units = _items(transform.get("units"))
    space = [number for number, letter in enumerate(letters) if letter in list(_SPACE)]
    symbols = _symbols([units[number] for number in space]) if len(units) == len(letters) else set()
    if len(sizes) != len(letters) or min(sizes, default=0) <= 0 or len(symbols) > 1:
        return Voxels()
    return Voxels(
        {letters[number]: sizes[number] for number in space},
        unit_symbol(next(iter(symbols), None)),
        {letters[n]: origin[n] for n in space} if len(origin) == len(letters) else {},
    )


def _by_letter(numbers: Sequence[float], axes: str) -> dict[str, float]:
    """Numbers per axis, of all axes of the array or of the spatial ones only."""
    space = [letter for letter in axes if letter in _SPACE]
    if len(numbers) == len(axes) and "?" not in axes:
        return {a: size for a, size in zip(axes, numbers, strict=True) if a in _SPACE}
    letters = space if len(space) == len(numbers) and "?" not in axes else _SPACE[-len(numbers) :]
    return dict(zip(letters, numbers, strict=False))


def _numbers(value: Any) -> list[float]:
    """One to four finite numbers; empty if ``value`` is anything else."""
    try:
        numbers = np.asarray(value, float)
    except (TypeError, ValueError):
        return []
    good = numbers.ndim == 1 and 1 <= numbers.size <= 4 and np.isfinite(numbers).all()
    return [float(number) for number in numbers] if good else []


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []


def _symbols(value: Any) -> set[str]:
    """Different units in a word or a list of words; words that are not units stay as they are."""
    words = np.asarray("" if value is None else value).ravel().tolist()
    texts = [word.decode("utf-8", "replace") if isinstance(word, bytes) else word for word in words]
    return {unit_symbol(text) or str(text) for text in texts if str(text).strip()}
