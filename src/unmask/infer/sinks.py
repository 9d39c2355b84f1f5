"""Where joined scores go: memory, a mean, or a Zarr store that outlives a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xxhash

from unmask import sealed
from unmask.atomic import (
    aside_name,
    atomic_write,
    fit_name,
    fsync_all,
    make_folder,
    remove,
    replace_folder,
)
from unmask.errors import DataError
from unmask.io import open_image
from unmask.leftovers import remove_leftovers
from unmask.space.axes import SPACE
from unmask.space.box import Box

if TYPE_CHECKING:
    import zarr

# About 800 kB uncompressed: small enough to read a part, few enough files.
_CHUNK_VALUES = 200_000
_METADATA = "zarr.json"


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
        """``(S, *space)`` float32.

        Raises:
            RuntimeError: nothing has been written yet.
        """
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
        """Start again; any line may come."""
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

    Every piece is on the disk before a record of it, with digests, is added to a hidden file next
    to the array. So a run that was killed, or whose machine lost power, resumes at the first piece
    that is missing or damaged. The array's attribute ``complete`` says whether all lines are there.

    Args:
        path: folder of the array; an older array there is replaced.
        spacing: voxel size, kept as an attribute.
        resume: continue the array that is there; see ``lines``.
    """

    def __init__(
        self, path: str | Path, *, spacing: Sequence[float] | None = None, resume: bool = False
    ) -> None:
        self.path = Path(path)
        self._spacing = None if spacing is None else [float(size) for size in spacing]
        self._resume = resume
        self._record = self.path.with_name(fit_name(f".{self.path.name}", ".written"))
        self._array: zarr.Array[Any] | None = None

    @property
    def lines(self) -> int:
        """Lines that an earlier run has written, ``first`` of ``run_tiles``; 0 where none has."""
        return self._intact[-1]["lines"] if self._intact else 0

    @cached_property
    def _intact(self) -> list[dict[str, Any]]:
        """Records of an earlier run up to the first that does not match the files."""
        records = sealed.read_lines(self._record) if self._resume else []
        metadata = _digest(self.path / _METADATA)
        if metadata not in {record.get("metadata") for record in records} - {None}:
            return []
        found = [records[0] | {"metadata": metadata}]
        for record in records[1:]:
            whole = all(_digest(self.path / key) == it for key, it in record["chunks"].items())
            follows = record["first"] == found[-1]["lines"]
            if not (whole and follows and record.get("metadata", metadata) == metadata):
                break
            found.append(record)
        return found

    def open(self, shape: tuple[int, ...]) -> int:
        """Create the array, or take that of the run before.

        Returns:
            Lines of a chunk: a piece is whole chunks, so that each one is written once.

        Raises:
            DataError: the folder holds something else, or an array of another shape.
            OSError: the disk.
        """
        import zarr  # Most predictions keep no scores on disk, and the import takes 0.3 s.

        if self._intact:
            self._array = zarr.open_array(self.path, mode="r+")
            if self._array.shape != shape:
                raise DataError(
                    f"{self.path}: expected scores of shape {shape} to continue, found "
                    f"{self._array.shape}. Remove the folder or choose another."
                )
            self._keep(self._intact)
            # What a kill left of metadata and of chunks.
            remove_leftovers(self.path)
            for torn in self.path.rglob("*.partial"):
                torn.unlink()
            return self._array.chunks[1]
        ours = (self.path / _METADATA).is_file() or (self._resume and self._record.is_file())
        if self.path.exists() and not ours:
            raise DataError(
                f"{self.path}: expected no file or folder of this name, or an older Zarr array, "
                "found something else. Choose another name."
            )
        self._create(shape)
        self._array = zarr.open_array(self.path, mode="r+")
        return self._array.chunks[1]

    def room(self, box: Box) -> np.ndarray | None:  # noqa: ARG002 - the protocol
        """None: files have no memory of their own."""
        return None

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Write one piece, then its record: a record never names lines that are missing.

        Raises:
            OSError: the disk.
        """
        array = self._array
        if array is None:
            raise RuntimeError("ZarrSink: open(shape) comes before the first piece.")
        array[:, *box.slices] = scores
        files = {key: self.path / key for key in self._keys(array, box)}
        there = [file for file in files.values() if file.exists()]
        fsync_all(there, self._folders(there))
        record: dict[str, Any] = {
            "first": box.start[0],
            "lines": box.stop[0],
            "chunks": {key: _digest(file) for key, file in files.items()},
        }
        if box.stop[0] < array.shape[1]:
            sealed.add_line(self._record, record)
            return
        metadata = self.path / _METADATA
        content = json.loads(metadata.read_text(encoding="utf-8"))
        content["attributes"]["complete"] = True
        text = json.dumps(content, indent=2)
        # Known before it is written: both the old and the new metadata match the records.
        sealed.add_line(self._record, record | {"metadata": _digest_of(text.encode())})
        atomic_write(metadata, text)

    def _create(self, shape: tuple[int, ...]) -> None:
        import zarr
        from zarr.codecs import ZstdCodec

        aside = self.path.with_name(aside_name(self.path))
        make_folder(self.path.parent)
        remove(aside)
        try:
            zarr.create_array(
                aside,
                shape=shape,
                dtype="float32",
                chunks=chunk_shape(shape),
                compressors=ZstdCodec(level=1, checksum=True),
                dimension_names=(
                    ["c", *SPACE.lower()[-(len(shape) - 1) :]] if len(shape) <= 4 else None
                ),
                attributes={"complete": False, "spacing": self._spacing},
            )
            metadata = _digest(aside / _METADATA)
            self._keep([{"first": 0, "lines": 0, "chunks": {}, "metadata": metadata}])
            replace_folder(aside, self.path)
        finally:
            with suppress(OSError):
                remove(aside)

    def _keep(self, records: Sequence[dict[str, Any]]) -> None:
        """Let these be all records."""
        atomic_write(self._record, "".join(map(sealed.line_of, records)))

    def _keys(self, array: zarr.Array[Any], box: Box) -> Iterator[str]:
        """Names of the chunks of a piece."""
        low, high = (0, *box.start), (array.shape[0], *box.stop)
        cells = (
            range(a // size, -(-b // size))
            for a, b, size in zip(low, high, array.chunks, strict=True)
        )
        return map(array.metadata.encode_chunk_key, product(*cells))

    def _folders(self, files: Sequence[Path]) -> list[Path]:
        """Folders on the way to files of the array, the innermost first."""
        found = {parent for file in files for parent in file.parents}
        inside = [each for each in found if each == self.path or self.path in each.parents]
        return sorted(inside, key=lambda folder: -len(folder.parts))


class ResumedSink:
    """Writes only the lines that the sink of an interrupted run does not have yet.

    Args:
        sink: a `ZarrSink`.
        lines: number of lines that are written already.
    """

    def __init__(self, sink: ZarrSink, lines: int) -> None:
        self._sink, self._lines = sink, lines

    def open(self, shape: tuple[int, ...]) -> int:
        """Open the sink; see `ZarrSink`."""
        return self._sink.open(shape)

    def room(self, box: Box) -> np.ndarray | None:
        """Memory of the sink; see `ZarrSink`."""
        return self._sink.room(box)

    def write(self, box: Box, scores: np.ndarray) -> None:
        """Write the part of a piece that is missing."""
        first = max(box.start[0], self._lines)
        if first < box.stop[0]:
            part = Box((first, *box.start[1:]), box.stop)
            self._sink.write(part, scores[:, first - box.start[0] :])


def _digest(file: Path) -> str | None:
    """Digest of a file; None if there is none, such as for a chunk of zeros."""
    try:
        return _digest_of(file.read_bytes())
    except FileNotFoundError:
        return None


def _digest_of(content: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(content)


def read_scores(path: str | Path, box: Box) -> np.ndarray:
    """A box of stored scores, ``(S, *box.shape)``.

    Raises:
        DataError: a chunk is damaged.
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
