"""MetaImage headers (.mhd) with their values in a file next to them (.raw, .zraw)."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unmask.errors import DataError, message
from unmask.io import Image

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_AGAIN = "Download the archive again, or unpack it again."


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes:
        shape: ``(z, y, x)``.
        dtype: of the stored values, with their byte order.
        spacing: voxel size ``(z, y, x)`` in mm.
        data: file of the values.
        compressed: by zlib.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    spacing: tuple[float, ...]
    data: Path
    compressed: bool


def open_metaimage(path: Path) -> Image:
    """Open a volume of one channel; values that are not compressed are read in parts.

    Raises:
        DataError: a header that is not understood, or values that are missing or cut off.
    """
    header = read_header(path)
    _check_values(path, header)
    native = header.dtype.newbyteorder("=")

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        if header.compressed:
            values = np.frombuffer(zlib.decompress(header.data.read_bytes()), header.dtype)
            values = values.reshape(header.shape)
        else:
            values = np.memmap(header.data, header.dtype, "r", shape=header.shape)
        return np.ascontiguousarray(values[index[1:]][None], native)

    return Image(
        shape=(1, *header.shape),
        dtype=native,
        axes="CZYX",
        source=str(path),
        name=path.stem,
        fetch=fetch,
        spacing=header.spacing,
        unit="mm",
        whole=header.compressed,
    )


def read_header(path: Path) -> Header:
    """Read the header of a volume.

    Raises:
        DataError: a field that is missing or has another value than is understood.
    """
    try:
        lines = path.read_text(encoding="latin-1").splitlines()
        fields = dict(map(str.strip, line.split("=", 1)) for line in lines if "=" in line)
        shape = tuple(int(each) for each in reversed(fields["DimSize"].split()))
        spacing = fields.get("ElementSpacing") or fields["ElementSize"]
        order = fields.get("BinaryDataByteOrderMSB") or fields.get("ElementByteOrderMSB", "False")
        dtype = np.dtype((">" if order == "True" else "<") + _TYPES[fields["ElementType"]])
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        data = path.with_name(Path(fields["ElementDataFile"]).name)
        voxel = tuple(float(each) for each in reversed(spacing.split()))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            message(
                path,
                expected="a header with DimSize, ElementType, ElementSpacing, ElementDataFile",
                found=f"{type(error).__name__}: {error}",
                do=_AGAIN,
            )
        ) from error
    if len(shape) != 3 or len(voxel) != 3 or channels != 1 or min(shape) < 1:
        raise DataError(
            message(
                path,
                expected="a volume of three axes and one channel",
                found=f"{shape[::-1]} with {channels} channel(s)",
                do=_AGAIN,
            )
        )
    return Header(shape, dtype, voxel, data, fields.get("CompressedData") == "True")


def _check_values(path: Path, header: Header) -> None:
    expected = math.prod(header.shape) * header.dtype.itemsize
    found = header.data.stat().st_size if header.data.is_file() else -1
    if found < 0 or (not header.compressed and found != expected):
        raise DataError(
            message(
                path,
                expected=f"{expected} bytes of values in {header.data.name}",
                found="no such file" if found < 0 else f"{found} bytes",
                do=_AGAIN,
            )
        )
