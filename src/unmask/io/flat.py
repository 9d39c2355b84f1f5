"""Values that lie in one piece of a file: raw, read by box, or packed, unpacked whole.

Many formats are a header and such a piece (MRC, NRRD, MetaImage, Analyze, MGH). The piece must be
exactly as long as the header says: a header that was changed by mistake is then noticed.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np

from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import limits
from unmask.io.contract import Index, Location, Mark, check_file, map_file

_PART = 1 << 20
# Bytes that may follow the values: some writers round the length of a file up.
_SLACK = 16


@dataclass(frozen=True)
class Flat:
    """A piece of a file.

    Attributes:
        location: the file that holds it.
        mark: state of the file when its header was read.
        shape: slow axis first.
        stored: type of the values, in the byte order of the file.
        offset: first byte of the values, or of the packed values.
        packing: "" for raw values, "gzip", "zlib" or "bzip2".
        skip: bytes in front of the values after they were unpacked.
        rest: bytes that may follow the values.
    """

    location: Location
    mark: Mark
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    offset: int
    packing: str = ""
    skip: int = 0
    rest: int = _SLACK

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.stored.itemsize


def flat_reader(
    flat: Flat, arrange: Callable[[np.ndarray], np.ndarray] = lambda array: array
) -> Callable[[Index], np.ndarray]:
    """A reader of the values in native byte order.

    Args:
        flat: where the values are.
        arrange: brings the array into another order of axes, as a view.

    Raises:
        DataError: the file is shorter or longer than the values, or a bomb.
    """
    _check_length(flat)
    native = flat.stored.newbyteorder("=")
    shelf = recent.make_decoded_shelf() if flat.packing else recent.make_opened_shelf()

    def whole() -> np.ndarray:
        if flat.packing:
            limits.check_memory(flat.location.source, flat.nbytes, what="unpacking")
            values = _unpack(flat).view(flat.stored)
            check_file(flat.location, flat.mark)
        else:
            buffer = map_file(flat.location, flat.mark)
            values = np.frombuffer(buffer, flat.stored, prod(flat.shape), flat.offset)
        return arrange(values.reshape(flat.shape))

    def read(index: Index) -> np.ndarray:
        check_file(flat.location, flat.mark)
        return shelf.get_alone("all", whole)[index].astype(native, order="C")

    return read


def truncated(location: Location, needed: int, found: object) -> DataError:
    """An error about a length that is not the one that the header states."""
    return DataError(
        message(
            location.source,
            expected=f"{needed} bytes, as its header says",
            found=f"{found}{' (truncated)' if isinstance(found, int) and found < needed else ''}",
            do="Copy the file again; if that does not help, its header is damaged.",
        )
    )


def _check_length(flat: Flat) -> None:
    size, needed = flat.mark.size, flat.offset + flat.nbytes
    if not flat.packing:
        if not needed <= size < needed + max(flat.rest, 1):
            raise truncated(flat.location, needed, size)
        return
    if flat.offset >= size:
        raise truncated(flat.location, flat.offset + 1, size)
    limits.check_claim(
        flat.location.source,
        flat.nbytes + flat.skip,
        size,
        ratio=limits.WHOLE_RATIO,
        harmless=limits.WHOLE_HARMLESS,
    )


def _unpack(flat: Flat) -> np.ndarray:
    """The values as bytes.

    Raises:
        DataError: fewer bytes than the header states, or more.
        ValueError: the packed bytes are damaged.
    """
    values = np.empty(flat.nbytes, np.uint8)
    filled, skip, most = 0, flat.skip, flat.nbytes + max(flat.rest, 1)
    with flat.location.path.open("rb") as handle:
        handle.seek(flat.offset)
        for part in _parts(handle, flat.packing):
            cut = min(skip, len(part))
            skip -= cut
            taken = part[cut : cut + len(values) - filled]
            values[filled : filled + len(taken)] = np.frombuffer(taken, np.uint8)
            filled, most = filled + len(taken), most - (len(part) - cut)
            if most <= 0:
                raise truncated(flat.location, flat.nbytes, "more")
    if filled < len(values):
        raise truncated(flat.location, flat.nbytes, filled)
    return values


def _parts(handle: BinaryIO, packing: str) -> Iterator[bytes]:
    """Unpacked bytes in parts of at most 1 MiB; the checksum at the end is compared."""
    if packing == "zlib":
        yield from _inflated(handle)
        return
    stream: Any = gzip.GzipFile(fileobj=handle) if packing == "gzip" else bz2.BZ2File(handle)
    while part := stream.read(_PART):
        yield part


def _inflated(handle: BinaryIO) -> Iterator[bytes]:
    # Writers of MetaImage call both containers of deflate "compressed": 32 detects which it is.
    stream = zlib.decompressobj(32 + zlib.MAX_WBITS)
    while not stream.eof:
        packed = stream.unconsumed_tail or handle.read(_PART)
        if not packed:
            raise EOFError("the packed values end too early (truncated)")
        yield stream.decompress(packed, _PART)


def sibling(location: Location, name: str) -> Location:
    """A data file that a header names: a file of the same folder.

    Raises:
        DataError: it is elsewhere, or it does not exist.
    """
    from unmask.io.outside import refuse_outside

    path = location.path.parent / name
    if path.resolve().parent != location.path.parent.resolve():
        refuse_outside(location, f"values in {name}, outside of its folder")
    if not path.is_file():
        raise DataError(
            message(
                location.source,
                expected=f"its data file {name} next to it",
                found="none",
                do="Copy both files into one folder, under their original names.",
            )
        )
    return Location(str(path), path)
