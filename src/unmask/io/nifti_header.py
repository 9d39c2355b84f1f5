"""The header of a NIfTI file, believed only as far as the bytes of the file bear it out."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np

from unmask.errors import DataError, message
from unmask.io import limits
from unmask.io.contract import Location

# Extensions between header and values: the largest known ones (CIFTI) have a few tens of MB.
_MOST_EXTENSIONS = 64 * 2**20
# Bytes that may follow the values: files are rounded up to 16.
_SLACK = 16
_PART = 1 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """What a reader needs of a header.

    Attributes:
        fields: the header itself.
        stored: type of the values in the file.
        shape: slow axis first.
        offset: first byte of the values.
        slope: of the scaling.
        inter: of the scaling.
    """

    fields: Any
    stored: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    slope: float
    inter: float

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.stored.itemsize


def read_header(location: Location, size: int, *, packed: bool) -> NiftiHeader:
    """Read and check a header; extensions are not read.

    Args:
        location: the file.
        size: its bytes.
        packed: whether it is a gzip file.

    Raises:
        DataError: damaged, colors, a bomb, or another length than the header claims.
    """
    with open_header(location, packed=packed) as handle:
        fields = _fields(location, handle.read(540))
    stored = fields.get_data_dtype()
    if stored.fields:
        raise DataError(
            message(
                location.source,
                expected="gray values",
                found="RGB values",
                do="Save the channels as a fourth axis.",
            )
        )
    shape = tuple(int(n) for n in fields.get_data_shape())[::-1]
    slope, inter = fields.get_slope_inter()
    offset = float(fields["vox_offset"])
    least = fields.single_vox_offset
    if not least <= offset <= least + _MOST_EXTENSIONS:
        raise _damaged(location, f"values after {least} bytes or a little more", f"{offset:.0f}")
    if int(fields["bitpix"]) != stored.itemsize * 8:
        raise _damaged(location, f"{stored.itemsize * 8} bits for {stored}", f"{fields['bitpix']}")
    header = NiftiHeader(
        fields,
        stored,
        shape,
        int(offset),
        1.0 if slope is None else float(slope),
        0.0 if inter is None else float(inter),
    )
    _check_size(location, header, size, packed=packed)
    return header


def unpack(location: Location, header: NiftiHeader) -> np.ndarray:
    """The values of a gzip file, as bytes; its checksum covers all of them.

    Raises:
        DataError: more bytes than the header claims.
        EOFError: fewer.
        OSError: the checksum is wrong.
    """
    values = np.empty(header.nbytes, np.uint8)
    with open_header(location, packed=True) as handle:
        rest = header.offset
        while rest:
            skipped = len(handle.read(min(rest, _PART)))
            if not skipped:
                raise EOFError(f"the values begin at {header.offset} (truncated)")
            rest -= skipped
        filled = 0
        view = memoryview(values.data)
        while filled < len(view):
            count = handle.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"{filled} of {len(view)} bytes are there (truncated)")
            filled += count
        # The checksum stands at the end and is compared only there.
        if len(handle.read(_SLACK)) == _SLACK:
            raise _wrong_length(location, header, "more")
    return values


def open_header(location: Location, *, packed: bool) -> BinaryIO:
    """The file, unpacked while it is read."""
    if packed:
        return cast("BinaryIO", gzip.open(location.path))
    return location.path.open("rb")


def _fields(location: Location, start: bytes) -> Any:
    """The header in the version and byte order of the file."""
    if len(start) < 348:
        raise _damaged(location, "a header of 348 bytes", f"{len(start)} bytes")
    sizes = {struct.unpack(order + "i", start[:4])[0] for order in "<>"}
    second = 540 in sizes
    kind: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    length, magic = (540, start[4:8]) if second else (348, start[344:348])
    if not sizes & {348, 540} or magic[:3] not in (b"n+1", b"n+2"):
        raise _damaged(location, "a NIfTI file that holds its values", f"the mark {magic!r}")
    return kind(start[:length])


def _check_size(location: Location, header: NiftiHeader, size: int, *, packed: bool) -> None:
    needed = header.offset + header.nbytes
    if packed:
        limits.check_claim(
            location.source,
            needed,
            size,
            ratio=limits.WHOLE_RATIO,
            harmless=limits.WHOLE_HARMLESS,
        )
        # A gzip file ends with its length; one of several members needs to be read to know.
        with location.path.open("rb") as handle:
            handle.seek(max(size - 4, 0))
            end = handle.read(4)
        stated = struct.unpack("<I", end)[0] if len(end) == 4 else 0
        slack = (stated - needed) % 2**32
        if slack >= _SLACK and not _is_long(location, needed):
            raise _wrong_length(location, header, f"{stated}")
    elif not needed <= size < needed + _SLACK:
        raise _wrong_length(location, header, f"{size}")


def _is_long(location: Location, needed: int) -> bool:
    """Whether a gzip file unpacks to as many bytes as needed and no more than a few."""
    with open_header(location, packed=True) as handle:
        total = 0
        while total < needed + _SLACK and (part := handle.read(_PART)):
            total += len(part)
    return needed <= total < needed + _SLACK


def _wrong_length(location: Location, header: NiftiHeader, found: str) -> DataError:
    needed = header.offset + header.nbytes
    number = int(found) if found.isdigit() else needed + 1
    return DataError(
        message(
            location.source,
            expected=f"{needed} bytes, as its header says",
            found=f"{found}{' (truncated)' if number < needed else ''}",
            do="Copy the file again; if that does not help, its header is damaged.",
        )
    )


def _damaged(location: Location, expected: str, found: str) -> DataError:
    return DataError(
        message(
            location.source, expected=expected, found=found, do="Copy or export the file again."
        )
    )
