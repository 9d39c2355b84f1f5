"""PNG, JPEG, BMP and WebP through Pillow; 16-bit color PNG through imagecodecs.

Values are those in the file: palettes become colors for images and stay indices for labels, 1-bit
files are bool, and gray PNGs of 2 and 4 bits are not stretched to 255. The orientation tag of
photographs is applied, so that pixels lie as viewers show them.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from unmask.atomic import atomic_path
from unmask.errors import DataError, message
from unmask.io import cache as recent
from unmask.io import exif, limits
from unmask.io.codecs import imagecodecs
from unmask.io.contract import (
    Content,
    Format,
    Index,
    Location,
    Mark,
    Stored,
    check_file,
    only_level,
    signature,
)

# The decoder is chosen by the first bytes, from a closed list: a renamed file still opens, and no
# other decoder of Pillow can be reached. Its own pixel limit (179 Mpx) would refuse honest slides.
_DECODERS: dict[bytes, type[ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"BM": BmpImageFile,
    b"RIFF": WebPImageFile,
}
# mode: channels, type; other modes are refused by name.
_MODES = {
    "1": (1, "?"),
    "L": (1, "u1"),
    "LA": (2, "u1"),
    "RGB": (3, "u1"),
    "RGBA": (4, "u1"),
    "I;16": (1, "u2"),
    "I;16B": (1, "u2"),
    "I": (1, "i4"),
}


# The format limits a block in a JPEG to 64 kB; in a PNG it may be longer, but says no more.
_MOST_EXIF = 1 << 20
# Parts of a WebP file: the picture, its transparency and a few remarks.
_MOST_PARTS = 1000
# A block of 8 x 8 pixels takes at least one bit, also in the first scan of a progressive file.
_JPEG_PIXELS = 512
# What the decoder gives for pixels without data.
_JPEG_FILL = 128


@dataclass(frozen=True)
class _Header:
    decoder: type[ImageFile]
    mode: str
    size: tuple[int, int]
    deep_color: bool = False
    stretch: int = 1
    orientation: int = 1


def open_raster(location: Location, *, level: int = 0, labels: bool = False) -> Stored:
    """Read the header.

    Raises:
        DataError: another kind of file, a mode without a plain meaning (CMYK), or a bomb.
    """
    only_level(location, level)
    mark = signature(location.path)
    header = _header(location, mark, labels=labels)
    channels, code = _MODES[header.mode]
    dtype = np.dtype("u2") if header.deep_color else np.dtype(code)
    shape = (*header.size[::-1], channels) if channels > 1 else header.size[::-1]
    limits.check_claim(
        location.source,
        prod(shape) * dtype.itemsize,
        mark.size,
        ratio=limits.WHOLE_RATIO,
        harmless=limits.WHOLE_HARMLESS,
    )
    shelf = recent.make_decoded_shelf()

    def decode() -> np.ndarray:
        limits.check_memory(location.source, prod(shape) * dtype.itemsize, what="decoding")
        check_file(location, mark)
        return _decode(location, header).reshape(shape).astype(dtype, copy=False)

    def read(index: Index) -> np.ndarray:
        if all(part == slice(0, n) for part, n in zip(index, shape, strict=True)):
            return decode()
        check_file(location, mark)
        return shelf.get_alone("whole", decode)[index].copy()

    meta = {"color": True} if channels > 2 else {}
    stored = Stored(shape, dtype, "YXS" if channels > 1 else "YX", read, whole=True, meta=meta)
    return exif.apply_orientation(stored, header.orientation)


def save_raster(location: Location, content: Content) -> None:
    """Write a gray, RGB or RGBA image.

    Raises:
        DataError: the format cannot hold the array.
    """
    array = np.moveaxis(content.array, 0, -1) if content.axes == "CYX" else content.array
    name = {".png": "PNG", ".bmp": "BMP"}.get(location.path.suffix.lower(), "JPEG")
    gray = [np.dtype("?"), np.dtype("u1"), *([np.dtype("u2")] if name == "PNG" else [])]
    colors = {"PNG": (3, 4), "JPEG": (3,), "BMP": (3,)}[name]
    fits = (content.axes == "YX" and array.dtype in gray) or (
        content.axes == "CYX" and array.dtype == np.uint8 and array.shape[-1] in colors
    )
    if not fits or (name == "JPEG" and array.dtype != np.uint8):
        raise DataError(
            message(
                location.source,
                expected=f"what {name} can hold: 2D, uint8 in 1 or {colors} channels",
                found=f"axes {content.axes}, shape {content.array.shape}, {array.dtype}",
                do="Save it as .tif, which keeps everything.",
            )
        )
    with atomic_path(location.path) as aside, aside.open("wb") as handle:
        Pillow.fromarray(np.ascontiguousarray(array)).save(handle, format=name)


def _header(location: Location, mark: Mark, *, labels: bool) -> _Header:
    with location.path.open("rb") as handle:
        start = handle.read(26)
    decoder = next((d for magic, d in _DECODERS.items() if start.startswith(magic)), None)
    if decoder is None:
        raise DataError(
            message(
                location.source,
                expected="a PNG, JPEG, BMP or WebP file",
                found=f"{len(start)} bytes" if len(start) < 8 else f"a file that starts {start!r}",
                do="Export it again, or give it the suffix of its real format.",
            )
        )
    if decoder is WebPImageFile:
        _check_webp(location, mark.size, labels=labels)
    with decoder(str(location.path)) as file:
        mode, size = file.mode, file.size
        block = file.info.get("exif")
        if mode == "P" and labels:
            mode = "L"
        elif mode == "P":
            mode = "RGBA" if "transparency" in file.info else "RGB"
    if decoder is JpegImageFile and prod(size) > mark.size * _JPEG_PIXELS:
        raise DataError(
            message(
                location.source,
                expected=f"at most {_JPEG_PIXELS} pixels per byte, as JPEG can pack",
                found=f"{size[0]} x {size[1]} pixels in {mark.size} bytes",
                do="The file is damaged; copy or export it again.",
            )
        )
    if mode not in _MODES:
        raise DataError(
            message(
                location.source,
                expected="gray, RGB or RGBA values",
                found=f"color mode {mode}",
                do="Convert it to RGB, or save the channels as TIFF.",
            )
        )
    if decoder is BmpImageFile:
        _check_bmp(location, mark.size)
    if decoder is PngImageFile and not block:
        block = _late_exif(location.path)
    depth, color = _png_depth(start) if decoder is PngImageFile else (8, 0)
    # Pillow stretches gray values of 2 and 4 bits to 255, which would change ids.
    stretch = 255 // (2**depth - 1) if color == 0 and 1 < depth < 8 else 1
    deep = depth == 16 and color in (2, 4, 6)
    return _Header(decoder, mode, size, deep, stretch, exif.orientation_in(block))


def _late_exif(path: Path) -> bytes | None:
    """The EXIF chunk of a PNG, which may stand behind the pixels."""
    with path.open("rb") as handle:
        handle.seek(8)
        while len(start := handle.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"eXIf" and length <= _MOST_EXIF:
                return handle.read(length)
            handle.seek(length + 4, 1)
    return None


def _check_bmp(location: Location, size: int) -> None:
    """The rows of a BMP, whose header has no checksum, must fill the file.

    Raises:
        DataError: they do not.
    """
    with location.path.open("rb") as handle:
        start = handle.read(54)
    offset, kind, width, height, _, bits, packed = struct.unpack_from("<IIiiHHI", start, 10)
    if kind < 40 or packed not in (0, 3, 6):
        return
    needed = offset + (abs(width) * bits + 31) // 32 * 4 * abs(height)
    # Programs may round the length up, and say so.
    (stated,) = struct.unpack_from("<I", start, 2)
    if not (size == needed or (needed < size < needed + 4 and stated in (0, size))):
        raise DataError(
            message(
                location.source,
                expected=f"{needed} bytes for {width} x {height} pixels of {bits} bits",
                found=f"{size} bytes",
                do="The file is damaged; copy or export it again.",
            )
        )


def _check_webp(location: Location, size: int, *, labels: bool) -> None:
    """The parts of a WebP must fill the file; the library reads half a file as a gray picture.

    Raises:
        DataError: they do not, it is an animation, or it holds labels that were changed when saved.
    """
    with location.path.open("rb") as handle:
        mark, length, kind = struct.unpack("<4sI4s", handle.read(12).ljust(12))
        names: list[bytes] = []
        place = 12
        while place + 8 <= size and len(names) < _MOST_PARTS:
            handle.seek(place)
            name, count = struct.unpack("<4sI", handle.read(8))
            names.append(name)
            place += 8 + count + count % 2
    found = "another kind of RIFF file" if kind != b"WEBP" else ""
    if b"ANIM" in names or b"ANMF" in names:
        found = "an animation"
    elif not found and (place != size or not size - 1 <= length + 8 <= size):
        found = f"{size} bytes instead of {max(place, length + 8)} (truncated?)"
    elif not found and labels and b"VP8 " in names:
        found = "lossy WebP, which changes ids when it is saved"
    if found or mark != b"RIFF":
        raise DataError(
            message(
                location.source,
                expected="one lossless WebP picture" if labels else "one WebP picture",
                found=found or "another file",
                do="Export it again, as PNG or TIFF.",
            )
        )


def _png_depth(start: bytes) -> tuple[int, int]:
    """Bits per sample and color type (0 gray, 2 RGB, 3 palette, 4 gray + alpha, 6 RGBA)."""
    depth, color = struct.unpack(">BB", start[24:26])
    return depth, color


def _check_png(path: Path) -> None:
    """Verify the checksums of the header, the palette and the pixels, which Pillow does not.

    Checksums of other chunks, such as comments, are often wrong and do not matter.
    """
    with path.open("rb") as handle:
        handle.seek(8)
        while len(start := handle.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"IEND":
                return
            if name not in (b"IHDR", b"PLTE", b"IDAT"):
                handle.seek(length + 4, 1)
                continue
            found = zlib.crc32(name)
            while length and (part := handle.read(min(length, 1 << 20))):
                found, length = zlib.crc32(part, found), length - len(part)
            if length or handle.read(4) != struct.pack(">I", found):
                raise ValueError(f"the checksum of its chunk {name.decode()} is wrong")
    raise ValueError("it ends before its last chunk")


def _decode(location: Location, header: _Header) -> np.ndarray:
    if header.decoder is PngImageFile:
        _check_png(location.path)
    if header.deep_color:
        return _decode_deep(location.path)
    with header.decoder(str(location.path)) as file:
        indices = file.mode == "P" and header.mode == "L"
        plain: Pillow.Image = file
        if file.mode == "P" and not indices:
            plain = file.convert(header.mode)
        array = np.array(plain)
    if header.decoder is JpegImageFile:
        _check_end(location, array)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return array // header.stretch if header.stretch > 1 else array


def _check_end(location: Location, array: np.ndarray) -> None:
    """Refuse a JPEG whose data end before its pixels do.

    The decoder fills the rest with medium gray and says nothing. An honest picture may end so too;
    but only where data are missing does it use bytes that are put behind them.
    """
    if not (array[-1, -8:] == _JPEG_FILL).all():
        return
    content = location.path.read_bytes()
    end = content.rfind(b"\xff\xd9")
    longer = content[:end] + b"\x55" * 64 + content[end:]
    with JpegImageFile(io.BytesIO(longer)) as file:
        if not np.array_equal(np.array(file), array):
            raise ValueError(f"its data end before its {array.shape[0]} rows do")


def _decode_deep(path: Path) -> np.ndarray:
    """16 bits per color, which Pillow would cut to 8."""
    decode = imagecodecs(f"{path.name} has 16 bits per color, which").png_decode
    return np.asarray(decode(path.read_bytes()))


PNG = Format("PNG", open_raster, save_raster, family=".tif")
JPEG = Format("JPEG", open_raster, save_raster, family=".tif", lossy=True)
# A lossless picture may hold labels, so each file says whether it is lossy.
WEBP = Format("WebP", open_raster, family=".tif")
BMP = Format("BMP", open_raster, save_raster, family=".tif")
