"""What may stand where a path may: a path, an array of any library, an opened image, or a list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unmask.errors import DataError
from unmask.io.arrays import is_array, not_an_input
from unmask.io.image import Image


@runtime_checkable
class SupportsArray(Protocol):
    """An array of any library, for type checkers."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        """The values."""
        ...


@runtime_checkable
class SupportsInterface(Protocol):
    """An image of PIL, for type checkers."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Where the values are."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayInput:
    """An array, or an opened image, in the place of a path.

    Attributes:
        data: the array or `Image`.
        name: what it is called in messages and what it pairs by.
    """

    data: Any
    name: str

    def __str__(self) -> str:
        return self.name

    def open(
        self, *, axes: str | None = None, ndim: int | None = None, labels: bool = False
    ) -> Image:
        """The image; labels keep the indices of a palette, images get its colors.

        Raises:
            DataError: its axes are unknown, or it is not an array of numbers.
        """
        if isinstance(self.data, Image):
            return self.data
        data = self.data
        if not labels and getattr(data, "mode", None) in ("P", "PA"):
            data = data.convert("RGBA" if data.mode == "PA" else "RGB")
        if labels and axes is None and ndim is None and len(np.shape(data)) == 3:
            # Labels have no channels, so three axes without names are space.
            ndim = 3
        return Image.from_array(data, axes=axes, name=self.name, ndim=ndim)


def holds_voxels(value: object) -> bool:
    """Whether a value is an array or an opened image, not a path."""
    return isinstance(value, Image | ArrayInput) or is_array(value)


def as_inputs(given: object) -> list[str | ArrayInput]:
    """One path or array, or several of them, as a list; paths become text.

    An array is called ``array``, and arrays of a list are named by their place in it (``array_0``,
    ``array_1``, ...), so that a list of images and a list of labels pair in order.

    Raises:
        DataError: something that is neither a path nor an array.
    """
    if isinstance(given, str | os.PathLike) or holds_voxels(given):
        return [_input(given, "array")]
    if isinstance(given, Iterable) and not isinstance(given, bytes | dict):
        return [_input(each, f"array_{number}") for number, each in enumerate(given)]
    raise DataError(not_an_input(given))


def one_input(given: object) -> str | ArrayInput:
    """A single path or array.

    Raises:
        DataError: something else, or a list.
    """
    if isinstance(given, str | os.PathLike) or holds_voxels(given):
        return _input(given, "array")
    raise DataError(not_an_input(given, "image"))


def only_paths(given: object) -> bool:
    """Whether there is no array among the inputs."""
    return not any(isinstance(item, ArrayInput) for item in as_inputs(given))


def _input(value: Any, name: str) -> str | ArrayInput:
    if isinstance(value, ArrayInput):
        return value
    if isinstance(value, str | os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, Image):
        return ArrayInput(value, name if value.name == "array" else value.name)
    if is_array(value):
        return ArrayInput(value, name)
    raise DataError(not_an_input(value))


Input = str | os.PathLike[str] | Image | ArrayInput | SupportsArray | SupportsInterface
Inputs = Input | Sequence[Input]
