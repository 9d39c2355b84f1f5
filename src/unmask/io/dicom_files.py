"""DICOM files one by one: recognized by content, decoded with bounds.

Headers are claims. A deflated file, or a compressed frame, can grow to any size; so sizes are
compared with the header before anything is decoded.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError, message
from unmask.io import limits

# The transfer syntax whose data set is deflated, and the most that one file may inflate to.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_INFLATED_LIMIT = 256 * 2**20
# Suffixes of slices; scanners also write names without a suffix, or end them in numbers.
_SUFFIXES = (".dcm", ".dicom", ".ima", "")
# RLE never makes pixels much longer.
_RLE = "1.2.840.10008.1.2.5"
_TAGS = (
    *("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "SamplesPerPixel"),
    *("BitsStored", "BitsAllocated", "PixelRepresentation", "SliceThickness"),
    *("ImagerPixelSpacing", "PhotometricInterpretation"),
)


@dataclass(frozen=True)
class Slice:
    """One file and its header."""

    path: Path
    header: Any

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def placed(self) -> bool:
        """Whether the header states a position in the body."""
        return self.header.get("ImagePositionPatient") is not None

    def numbers(self, tag: str, count: int) -> np.ndarray:
        """Values of a tag.

        Raises:
            DataError: the tag is missing, or has another number of values.
        """
        value = self.header.get(tag)
        if value is None or not hasattr(value, "__len__") or len(value) != count:
            raise DataError(
                message(
                    self.path,
                    expected=f"{tag}, {count} numbers",
                    found="none" if value is None else str(value),
                    do="Export the series again, or remove what is no slice of it.",
                )
            )
        numbers = np.array([float(each) for each in value])
        if not np.isfinite(numbers).all():
            raise self.refused(f"{tag} of finite numbers", f"{numbers.tolist()}")
        return numbers

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept of the values."""
        header = self.header
        slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
        return float(1 if slope is None else slope), float(0 if intercept is None else intercept)

    def refused(self, expected: str, found: str) -> DataError:
        """An error about this file."""
        return DataError(
            message(
                self.path,
                expected=expected,
                found=found,
                do="Copy the file again, or convert the series to NIfTI.",
            )
        )


def has_slice_name(path: Path) -> bool:
    """Whether a file is named as slices usually are: ``.dcm``, no suffix, or numbers after dots."""
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES or suffix[1:].isdigit()


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its first bytes: after a preamble, or a data set without one."""
    try:
        with path.open("rb") as handle:
            head = handle.read(132)
    except OSError:
        return False
    if head[128:] == b"DICM":
        return True
    # Without a preamble, the first element is of group 2 or 8, in implicit or explicit encoding.
    if len(head) < 132 or not has_slice_name(path):
        return False
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return group in (2, 8) and element < 0x0100 and (explicit or length < 0x1000)


def read_header(pydicom: Any, path: Path) -> Slice:
    """The header of a file.

    Raises:
        DataError: the file is damaged, holds no image, or would inflate beyond 256 MiB.
    """
    one = Slice(
        path, read_dataset(pydicom, path, stop_before_pixels=True, specific_tags=list(_TAGS))
    )
    for tag in ("Rows", "Columns", "BitsStored", "PixelRepresentation"):
        if not isinstance(one.header.get(tag), int):
            raise one.refused(f"an image with {tag}", f"{one.header.get(tag)}")
    if min(one.shape) < 1:
        raise one.refused("at least one pixel", f"{one.shape}")
    stored = path.stat().st_size
    try:
        compressed = _syntax(one.header).is_compressed
    except ValueError as error:
        raise one.refused("a transfer syntax", f"{_syntax(one.header)}") from error
    if not compressed:
        needed = _nbytes(one)
        if needed > stored:
            raise one.refused(f"{needed} bytes of pixels", f"a file of {stored} (truncated)")
    else:
        limits.check_claim(
            str(path),
            _nbytes(one),
            stored,
            ratio=limits.WHOLE_RATIO,
            harmless=limits.WHOLE_HARMLESS,
        )
    return one


def read_pixels(pydicom: Any, one: Slice) -> np.ndarray:
    """Decoded pixels, ``(rows, columns)``, before rescaling.

    Raises:
        DataError: they cannot be decoded, or are not as many as the header states.
    """
    try:
        file = read_dataset(pydicom, one.path)
        check_coded_frame(pydicom, one, file)
        pixels = np.asarray(file.pixel_array)
    except DataError:
        raise
    except Exception as error:
        # Decoders raise anything; the user needs the slice's name with it.
        found = " ".join(str(error).split())[:300] or type(error).__name__
        raise one.refused("pixels that can be decoded", found) from error
    if pixels.shape != one.shape:
        raise one.refused(f"{one.shape} pixels", f"{pixels.shape}")
    return pixels


def read_dataset(pydicom: Any, path: Path, **options: Any) -> Any:
    """A file, or its header.

    Raises:
        DataError: the file is damaged, or would inflate beyond 256 MiB.
    """
    try:
        _check_deflated(path)
        # Files without a preamble were recognized by ``is_dicom``.
        header = pydicom.dcmread(path, force=True, **options)
    except DataError:
        raise
    except Exception as error:
        # Parsers raise anything on damaged headers.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise DataError(
            message(
                path,
                expected="a DICOM file",
                found=f"damaged content ({reason})",
                do="Copy the file again.",
            )
        ) from error
    if getattr(header, "file_meta", None) is None:
        header.file_meta = pydicom.dataset.FileMetaDataset()
    if "TransferSyntaxUID" not in header.file_meta:
        implicit = header.original_encoding[0] is not False
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else \
            pydicom.uid.ExplicitVRLittleEndian  # fmt: skip
        header.file_meta.TransferSyntaxUID = syntax
    return header


def _syntax(header: Any) -> Any:
    return header.file_meta.TransferSyntaxUID


def _nbytes(one: Slice) -> int:
    bits = int(one.header.get("BitsAllocated") or 16)
    samples = int(one.header.get("SamplesPerPixel") or 1)
    frames = int(one.header.get("NumberOfFrames") or 1)
    return (one.shape[0] * one.shape[1] * samples * frames * bits + 7) // 8


def _check_deflated(path: Path) -> None:
    """Inflate a deflated data set piece by piece, to see that it ends."""
    with path.open("rb") as handle:
        head = handle.read(4096)
        if _DEFLATED not in head:
            return
        # The group length of the file meta information, a long after 12 bytes of the first element.
        (length,) = struct.unpack("<I", head[140:144])
        handle.seek(144 + length)
        stream, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while piece := handle.read(2**16):
            while piece and not stream.eof:
                total += len(stream.decompress(piece, 2**20))
                piece = stream.unconsumed_tail
                if total > _INFLATED_LIMIT:
                    raise DataError(
                        message(
                            path,
                            expected="at most 256 MiB in a deflated file",
                            found="more",
                            do="The file is damaged or made to exhaust memory; export it again.",
                        )
                    )


def check_coded_frame(pydicom: Any, one: Slice, file: Any, number: int = 0) -> None:
    """Compare the stored pixels of a frame with the header before they are decoded.

    Raises:
        DataError: they are not as many.
    """
    stored, needed = len(file.PixelData), _nbytes(one)
    syntax = _syntax(file)
    if not syntax.is_compressed or syntax.is_deflated:
        # An odd number of bytes is padded by one.
        if not needed <= stored <= needed + 1:
            raise one.refused(f"{needed} bytes of pixels, as its header says", f"{stored}")
        return
    if stored > 2 * needed + 2**16:
        raise one.refused(f"at most {2 * needed + 2**16} bytes of pixels", f"{stored}")
    count = int(one.header.get("NumberOfFrames") or 1)
    frame = pydicom.encaps.get_frame(file.PixelData, number, number_of_frames=count)
    coded = None if str(syntax) == _RLE else _coded_size(frame)
    if coded not in (None, one.shape):
        raise one.refused(f"{one.shape} pixels, as its header says", f"a frame of {coded}")


def _coded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns in the header of a JPEG, JPEG-LS or JPEG 2000 frame; None without one."""
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 24:
        width, height, left, top = struct.unpack(">IIII", frame[8:24])
        return height - top, width - left
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        # Frame headers, without the tables for Huffman and arithmetic codes; F7 is JPEG-LS.
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack(">HH", frame[place + 5 : place + 9])
            return height, width
        place += 2 + struct.unpack(">H", frame[place + 2 : place + 4])[0]
    return None
