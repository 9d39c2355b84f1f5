"""Where joined scores go: memory, a mean, or a Zarr store that outlives a kill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import ZstdCodec

from unmask.errors import DataError
from unmask.io import open_image
from unmask.space.axes import SPACE
from unmask.space.box import Box

# About 800 kB uncompressed: small enough to read a part, few enough files.
_CHUNK_VALUES = 200_000


class MemorySink:
    """Scores as one array.

    Args:
        share: factor on what is written; with ``add`` several runs give their mean.
        add: add to what an earlier run wrote instead of replacing it.
    """

    def __init__(self, *, share: float = 1.0, add: bool = False) -> None:
        self._share, self._add = share, add
        self._array: np.ndarray | None = None

    @property
    def array(self) -> np.ndarray:
        """``(S, *space)`` float32."""
        if self._array is None:
            raise RuntimeError("MemorySink.array: nothing has been written yet.")
        return self._array

    def open(self, shape: tuple[int, ...]) -> int:
        """Make room; a second run that adds keeps the first one's array. Any line may come."""
        if self._array is None or not self._add:
            # numpy asks for huge pages, which can take longer to find than all the rest of a run
            self._array = (torch.zeros if self._add else torch.empty)(shape).numpy()
        return 1

    def room(self, box: Box) -> np.ndarray | None:
        """The piece's place in the array, unless it is to be added."""
        return None if self._add else self.array[:, *box.slices]

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Copy or add one piece; nothing is left to do for one that was put in its place."""
        place = self.array[:, *box.slices]
        if self._add:
            place += self._share * scores
        elif self._share != 1.0:
            np.multiply(scores, self._share, out=place)
        elif place.__array_interface__["data"] != scores.__array_interface__["data"]:
            place[...] = scores


class MeanSink:
    """The mean of all scores, for a task about whole images; memory does not grow with them."""

    def __init__(self) -> None:
        self._sum: np.ndarray = np.zeros(0)
        self._voxels = 0

    @property
    def mean(self) -> np.ndarray:
        """``(S,)`` float64."""
        return self._sum / self._voxels

    def open(self, shape: tuple[int, ...]) -> int:
        """Begin anew; any line may come."""
        self._sum, self._voxels = np.zeros(shape[0]), math.prod(shape[1:])
        return 1

    def room(self, box: Box) -> np.ndarray | None:  # noqa: ARG002 - the protocol
        """None: nothing is kept."""
        return None

    def write(self, box: Box, scores: np.ndarray) -> None:  # noqa: ARG002 - the protocol
        """Add one piece."""
        self._sum += scores.reshape(len(scores), -1).sum(axis=1, dtype=np.float64)


class ZarrSink:
    """Scores as a Zarr v3 array ``(S, *space)`` float32, zstd with checksum.

    The array's attributes say how many lines are written (``lines``) and whether those are all
    (``complete``), so that a killed run can go on.

    Args:
        path: folder of the array; an older array there is replaced.
        spacing: voxel size, kept as an attribute.
        resume: go on with the array that is there; see ``lines``.
    """

    def __init__(
        self, path: str | Path, *, spacing: Sequence[float] | None = None, resume: bool = False
    ) -> None:
        self.path = Path(path)
        self._spacing = None if spacing is None else [float(size) for size in spacing]
        self._resume = resume
        self._array: zarr.Array[Any] | None = None

    @property
    def lines(self) -> int:
        """Lines that an earlier run has written, ``first`` of ``run_tiles``; 0 where none has."""
        if not self._resume or not self._exists():
            return 0
        return int(str(self._opened().attrs.get("lines", 0)))

    def open(self, shape: tuple[int, ...]) -> int:
        """Create the array, or take that of the run before.

        Returns:
            Lines of a chunk: a piece is whole chunks, so that each one is written once.

        Raises:
            DataError: the folder holds something else, or an array of another shape.
        """
        if self._resume and self._exists():
            self._array = self._opened()
            if self._array.shape != shape:
                raise DataError(
                    f"{self.path}: expected scores of shape {shape} to go on with, found "
                    f"{self._array.shape}. Remove the folder or choose another."
                )
            return self._array.chunks[1]
        if self.path.exists() and not self._exists():
            raise DataError(
                f"{self.path}: expected no file or folder of this name, or an older Zarr array, "
                "found something else. Choose another name."
            )
        self._array = zarr.create_array(
            self.path,
            shape=shape,
            dtype="float32",
            chunks=chunk_shape(shape),
            compressors=ZstdCodec(level=1, checksum=True),
            dimension_names=["c", *SPACE.lower()[-(len(shape) - 1) :]] if len(shape) <= 4 else None,
            attributes={"lines": 0, "complete": False, "spacing": self._spacing},
            overwrite=True,
        )
        return self._array.chunks[1]

    def room(self, box: Box) -> np.ndarray | None:  # noqa: ARG002 - the protocol
        """None: files have no memory of their own."""
        return None

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Write one piece, then its mark: a mark never tells of lines that are missing."""
        array = self._array
        if array is None:
            raise RuntimeError("ZarrSink: open(shape) comes before the first piece.")
        array[:, *box.slices] = scores
        lines = box.stop[0]
        array.update_attributes({"lines": lines, "complete": lines == array.shape[1]})

    def _exists(self) -> bool:
        return (self.path / "zarr.json").is_file()

    def _opened(self) -> zarr.Array[Any]:
        return zarr.open_array(self.path, mode="r+")


def read_scores(path: str | Path, box: Box) -> np.ndarray:
    """A box of stored scores, ``(S, *box.shape)``.

    Raises:
        DataError: not all lines are there, or a chunk is damaged.
    """
    image = open_image(path, ndim=len(box.start))
    return image.read(box)


def chunk_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Chunks of about 800 kB: all channels, few lines, wide along the other axes.

    Few lines, because finished lines wait in memory until they fill a chunk.
    """
    ndim = len(shape) - 1
    edge = (16 * _CHUNK_VALUES / shape[0]) ** (1 / ndim)
    edge = 1 << max(3, round(math.log2(edge)))
    wanted = (max(1, edge // 16), *(edge for _ in range(ndim - 1)))
    return (shape[0], *(max(1, min(n, size)) for n, size in zip(shape[1:], wanted, strict=True)))
