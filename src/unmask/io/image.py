"""A lazy image: always ``(C, *space)``, nothing is read until it is indexed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from unmask.errors import DataError, UnmaskError, message
from unmask.io import limits
from unmask.io.arrays import array_axes, stored_array
from unmask.io.contract import Index, Stored
from unmask.io.layout import resolve
from unmask.profiling import stage
from unmask.space.axes import SPACE
from unmask.space.box import Box
from unmask.space.spacing import check_spacing


@dataclass(frozen=True, eq=False)
class Image:
    """An image in a file or in memory.

    Attributes:
        shape: ``(C, *space)``.
        dtype: of the values that reads return, native byte order.
        axes: "CYX" or "CZYX"; with a T, or a Z before planes, a stack; see `unmask.io.stacks`.
        spacing: voxel size of the spatial axes, slow axis first, in ``unit``; None where unknown.
        unit: "um", "nm", "mm" ...; None where unknown.
        source: the path as the user gave it.
        name: stem, for pairing and for names of outputs.
        whole: reading a part costs as much as reading everything (PNG, JPEG, .nii.gz), so a
            caller that reads many parts better keeps the array.
        meta: what a writer of the same format needs for an exact round trip (NIfTI's affine), the
            names of the ``channels`` if the file has them, the ``files`` of an image in several,
            and ``color`` if the file says that its channels are red, green and blue.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: str
    source: str
    name: str
    fetch: Callable[[tuple[slice, ...]], np.ndarray] = field(repr=False)
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    whole: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.shape) - 1

    def read(self, box: Box | None = None) -> np.ndarray:
        """Voxels ``(C, *box.shape)`` as a new array; the whole image without a box.

        Safe to call from several threads.

        Raises:
            DataError: the file cannot be decoded, or memory would not suffice.
            ValueError: the box reaches outside the image.
        """
        if box is None:
            box = Box.of(self.shape[1:])
        elif not _holds(self.shape[1:], box):
            raise ValueError(
                f"{self.source}: {box} is not inside the image of shape {self.shape[1:]}."
            )
        return self._read((slice(0, self.shape[0]), *box.slices))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Basic numpy indexing on ``(C, *space)``; reads the box around what is asked for."""
        bounds: list[slice] = []
        rest: list[Any] = []
        axis = 0
        for item in _expanded(index, len(self.shape)):
            if item is None:
                rest.append(None)
                continue
            bound, inner = _bounds(item, self.shape[axis], axis)
            bounds.append(bound)
            rest.append(inner)
            axis += 1
        return self._read(tuple(bounds))[tuple(rest)]

    def _read(self, index: tuple[slice, ...]) -> np.ndarray:
        shape = [part.stop - part.start for part in index]
        if 0 in shape:
            return np.empty(shape, self.dtype)
        limits.check_memory(self.source, prod(shape) * self.dtype.itemsize)
        try:
            with stage("reading"):
                return self.fetch(index)
        except (UnmaskError, KeyboardInterrupt):
            raise
        except MemoryError as error:
            raise DataError(
                message(
                    self.source,
                    expected="memory for this read",
                    found=f"none for shape {tuple(shape)}",
                    do="Read it in blocks, or use a machine with more memory.",
                )
            ) from error
        except Exception as error:
            # Decoders raise anything on damaged bytes; the user needs the file's name with it.
            raise DataError(unreadable(self.source, error)) from error

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        axes: str | None = None,
        spacing: Sequence[float] | None = None,
        name: str = "array",
        ndim: int | None = None,
    ) -> Image:
        """An image over an array of any library; it is not copied, reads are copies.

        A lazy array (dask, zarr, h5py, xarray) is read by box.

        Args:
            array: ``(*space)`` or ``(C, *space)``; ``(*space, C)`` if the last axis is 1, 3 or 4.
            axes: says what the axes are where that is not clear.
            spacing: voxel size, slow axis first.
            name: stem for outputs.
            ndim: spatial axes; taken from ``spacing`` where that is given.

        Raises:
            DataError: not an array, unknown axes, or values that are no numbers.
        """
        stored = stored_array(array, name=name)
        check_dtype(name, stored.dtype)
        ndim = len(spacing) if spacing is not None and ndim is None else ndim
        if axes is None and set(stored.axes) == {"?"}:
            axes = array_axes(stored.shape, ndim, name=name)
        image = from_stored(stored, source=name, name=name, axes=axes, ndim=ndim)
        return replace(image, spacing=check_spacing(spacing, image.ndim, source=name))


def _holds(shape: tuple[int, ...], box: Box) -> bool:
    """Whether a box lies inside an image."""
    return len(box.start) == len(shape) and all(
        0 <= a <= b <= n for a, b, n in zip(box.start, box.stop, shape, strict=True)
    )


def from_stored(
    stored: Stored, *, source: str, name: str, axes: str | None = None, ndim: int | None = None
) -> Image:
    """Bring a stored array into the order ``(C, *space)``.

    Raises:
        DataError: no voxels, values that are no numbers, or unknown axes.
    """
    check_dtype(source, stored.dtype)
    if 0 in stored.shape:
        raise DataError(
            message(
                source,
                expected="at least one voxel",
                found=f"shape {stored.shape}",
                do="Remove the file or export it again.",
            )
        )
    letters = resolve(source, stored.shape, stored.axes, given=axes, ndim=ndim)
    found = "C" + "".join(letter for letter in SPACE if letter in letters)
    return arranged_image(stored, letters, found, source=source, name=name)


def arranged_image(stored: Stored, letters: str, found: str, *, source: str, name: str) -> Image:
    """A stored array of known axes in the order of ``found``, such as ``CZYX`` or ``CTYX``.

    Args:
        stored: the array.
        letters: one letter per stored axis, ``-`` for one of length 1 that is dropped.
        found: axes of the image, the channel first.
        source: the path.
        name: stem.
    """
    shape = tuple(stored.shape[letters.index(a)] if a in letters else 1 for a in found)
    sizes = [stored.spacing.get(letter, 0.0) for letter in found if letter in SPACE]
    known = all(np.isfinite(size) and size > 0 for size in sizes)
    meta = dict(stored.meta)
    if len(meta.get("channels", ())) != shape[0]:
        meta.pop("channels", None)
    return Image(
        shape=shape,
        dtype=stored.dtype,
        axes=found,
        source=source,
        name=name,
        fetch=_arranged(stored.read, letters, found),
        spacing=tuple(float(size) for size in sizes) if known else None,
        unit=stored.unit if known else None,
        whole=stored.whole,
        meta=meta,
    )


def _arranged(
    read: Callable[[Index], np.ndarray], letters: str, found: str
) -> Callable[[tuple[slice, ...]], np.ndarray]:
    """Reader in canonical order from a reader in stored order."""
    places = [found.find(letter) for letter in letters]
    squeeze = tuple(axis for axis, place in enumerate(places) if place < 0)
    kept = [place for place in places if place >= 0]
    order = [kept.index(place) for place in sorted(kept)]
    straight = order == list(range(len(order)))
    channel = "C" in letters
    # Axes that are in order already; a small tile is copied in less time than its index is sorted.
    same = places == list(range(len(found) - len(places), len(found)))

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        if same:
            return read(index) if channel else read(index[1:])[None]
        array = read(tuple(index[place] if place >= 0 else slice(0, 1) for place in places))
        if squeeze:
            array = array.reshape([n for axis, n in enumerate(array.shape) if axis not in squeeze])
        if not straight:
            array = np.ascontiguousarray(array.transpose(order))
        return array if channel else array[None]

    return fetch


def check_dtype(source: str, dtype: np.dtype[Any]) -> None:
    """Refuse what is no gray value, by name.

    Raises:
        DataError: complex numbers, objects, text, records ...
    """
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        kind = "complex numbers" if dtype.kind == "c" else "this type"
        raise DataError(
            message(
                source,
                expected="bool, integer or float values of at most 64 bits",
                found=f"dtype {dtype} ({kind} cannot be an image)",
                do="Convert it, for example to its absolute value, before you give it.",
            )
        )


def unreadable(source: str, error: Exception) -> str:
    """Message for a file that a decoder gave up on."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return message(
        source,
        expected="a readable image",
        found=f"damaged or unsupported content ({reason})",
        do="Copy or export the file again, or remove it.",
    )


def _expanded(index: Any, axes: int) -> list[Any]:
    """One item per axis (and None for new axes), without an ellipsis."""
    items = list(index) if isinstance(index, tuple) else [index]
    used = sum(item is not None and item is not Ellipsis for item in items)
    if used > axes or sum(item is Ellipsis for item in items) > 1:
        raise IndexError(f"too many indices: the image has {axes} axes, {used} were given")
    place = next((i for i, item in enumerate(items) if item is Ellipsis), len(items))
    fill = [slice(None)] * (axes - used)
    return [*items[:place], *fill, *items[place + 1 :]]


def _bounds(item: Any, length: int, axis: int) -> tuple[slice, Any]:
    """Box bounds for one index, and the index inside the box."""
    if isinstance(item, slice):
        chosen = range(*item.indices(length))
        if not chosen:
            return slice(0, 0), slice(None)
        low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
        inner = slice(None) if chosen.step > 0 else slice(None, None, -1)
        step = abs(chosen.step)
        if step != 1:
            inner = slice(None, None, chosen.step)
        return slice(low, high + 1), inner
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        position = int(item)
        if not -length <= position < length:
            raise IndexError(f"index {position} is out of bounds for axis {axis} of {length}")
        position %= length
        return slice(position, position + 1), 0
    raise IndexError(f"an image takes integers, slices, ... and None as index, not {item!r}")
