"""A movie as an OME-Zarr 0.4 (Zarr 2) whose files are made on request, for viewers in a browser.

Neuroglancer's own format, see `unmask.io.precomputed`, has no time axis; its reader of Zarr takes
any number of axes. Chunks are raw, so that answering needs no compressor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from unmask.io.image import Image
from unmask.io.zarr import UNIT_WORDS
from unmask.space.axes import SPACE

# Longest side of a chunk in space; along time and channels it is 1.
_SIDE = {2: 256, 3: 64}
_ARRAY = "0"


@dataclass(frozen=True)
class ZarrOnRequest:
    """An image as the files of an OME-Zarr.

    Attributes:
        image: ``(C, *axes)``, with a time axis or not.
        labels: whether values are labels, which have no channel axis.
    """

    image: Image
    labels: bool

    @cached_property
    def axes(self) -> str:
        """Letters of the stored axes: time, channel, space."""
        lead = "T" * ("T" in self.image.axes) + "C" * (not self.labels)
        return lead + "".join(letter for letter in SPACE if letter in self.image.axes)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the stored axes."""
        lengths = dict(zip(self.image.axes, self.image.shape, strict=True))
        return tuple(lengths[letter] for letter in self.axes)

    @cached_property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        side = _SIDE[sum(letter in SPACE for letter in self.axes)]
        sizes = zip(self.axes, self.shape, strict=True)
        return tuple(min(side, n) if letter in SPACE else 1 for letter, n in sizes)

    def answer(self, path: str) -> bytes | None:
        """A file of the store, such as ``.zattrs`` or ``0/3.0.1.0``; None: there is none."""
        files = {".zgroup": {"zarr_format": 2}, ".zattrs": self._attributes(),
                 f"{_ARRAY}/.zarray": self._array()}  # fmt: skip
        if path in files:
            return json.dumps(files[path]).encode()
        folder, _, name = path.partition("/")
        words = name.split(".")
        if folder != _ARRAY or len(words) != len(self.axes) or not all(map(str.isdecimal, words)):
            return None
        return self._chunk(tuple(map(int, words)))

    def _chunk(self, number: tuple[int, ...]) -> bytes | None:
        """Values of a chunk; beyond the ends of the image they are 0."""
        starts = [n * size for n, size in zip(number, self.chunks, strict=True)]
        if any(start >= n for start, n in zip(starts, self.shape, strict=True)):
            return None
        ends = zip(self.axes, starts, self.chunks, self.shape, strict=True)
        where = {axis: slice(a, min(a + size, n)) for axis, a, size, n in ends}
        part = self.image[tuple(where.get(letter, slice(0, 1)) for letter in self.image.axes)]
        if self.labels:
            part = part[0]
            stored = self.image.axes[1:]
        else:
            stored = self.image.axes
        part = part.transpose([stored.index(letter) for letter in self.axes])
        full = np.zeros(self.chunks, self.dtype)
        full[tuple(slice(0, n) for n in part.shape)] = part
        return full.tobytes()

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values, little-endian; viewers have neither bool nor float64."""
        dtype = self.image.dtype
        plain = {"b": np.dtype(np.uint8), "f": np.dtype(np.float32)}.get(dtype.kind, dtype)
        return plain.newbyteorder("<")

    def _array(self) -> dict[str, Any]:
        return {
            "zarr_format": 2, "shape": self.shape, "chunks": self.chunks, "dtype": self.dtype.str,
            "compressor": None, "fill_value": 0, "order": "C", "filters": None,
            "dimension_separator": ".",
        }  # fmt: skip

    def _attributes(self) -> dict[str, Any]:
        sizes = dict(zip(SPACE[-len(self.image.spacing or ()) :], self.image.spacing or (),
                         strict=False))  # fmt: skip
        scale = [sizes.get(letter, 1.0) for letter in self.axes]
        level = {
            "path": _ARRAY,
            "coordinateTransformations": [{"type": "scale", "scale": scale}],
        }
        axes = [self._axis(letter) for letter in self.axes]
        return {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [level]}]}

    def _axis(self, letter: str) -> dict[str, str]:
        kind = {"T": "time", "C": "channel"}.get(letter, "space")
        unit = UNIT_WORDS.get(self.image.unit or "") if kind == "space" else None
        return {"name": letter.lower(), "type": kind, **({"unit": unit} if unit else {})}
