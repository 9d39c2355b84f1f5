"""Bombs in files with one array: TIFF, PNG, BMP, JPEG, NIfTI, NPY."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from injection.streams import GIB, chunk, deflated, png, tiff, zstd_frame

# Writes a file; what it returns does not matter.
Maker = Callable[[Path], object]
_PNG_IN_TIFF, _ZSTD, _DEFLATE, _JPEG, _LZMA, _LZW = 34933, 50000, 8, 7, 34925, 5


def _bytes(make: Callable[[], bytes]) -> Maker:
    return lambda path: path.write_bytes(make())


def _tiff(strip: Callable[[], bytes], **tags: int) -> Maker:
    numbered = {int(name[1:]): value for name, value in tags.items()}
    return _bytes(lambda: tiff(strip(), numbered))


def _many_pages() -> bytes:
    pages = np.zeros(1_500_000, np.dtype([("tags", "<u2"), ("next", "<u4")]))
    pages["next"] = 8 + 6 * (1 + np.arange(len(pages)))
    return b"II*\0" + struct.pack("<I", 8) + pages.tobytes()


def _many_strips() -> bytes:
    """One page whose table of strips claims a billion entries."""
    entries = [
        (256, 4, 1, 16), (257, 4, 1, 2**30), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1),
        (273, 4, 2**30, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, 2**30, 200),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    page = struct.pack("<H", len(entries)) + body + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8) + page + bytes(500)


def _jpeg(width: int, height: int) -> bytes:
    """A JPEG of 16 x 16 whose header claims another size."""
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (16, 16), 7).save(stream, "JPEG")
    content = bytearray(stream.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def _bmp(width: int, height: int, packing: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, packing, 0, 0, 0, 256, 0)
    palette = b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 14 + len(head) + len(palette)
    body = head + palette + b"\xff\x07" * 500
    return struct.pack("<2sIHHI", b"BM", 14 + len(body), 0, 0, start) + body


def _picture(more: bytes) -> Maker:
    """A good picture of 16 x 16 sevens with a chunk that unpacks to a gigabyte."""

    def make(path: Path) -> None:
        header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
        pixels = zlib.compress((b"\0" + b"\7" * 16) * 16)
        parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)

    return make


def _nifti(*, shape: tuple[int, ...] = (16, 16, 16), offset: float = 352) -> bytes:
    import nibabel

    header: Any = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header.structarr["magic"] = b"n+1"
    header.structarr["vox_offset"] = offset
    return header.binaryblock


def _extension(size: int) -> bytes:
    """A header with one extension that claims ``size`` bytes."""
    return _nifti(offset=float(352 + size)) + b"\1\0\0\0" + struct.pack("<ii", size, 6)


def _npy(text: bytes, *, version: int = 1, length: int | None = None) -> bytes:
    text = text.ljust(118) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + bytes(100)


def _npz(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.npy", "w") as out:
        out.write(_npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,), }"))
        for _ in range(64):
            out.write(bytes(2**22))


def _lzma() -> bytes:
    import lzma

    # Repeated streams, which a decoder of the whole strip joins.
    return lzma.compress(b"\7" * 256 + bytes(2**26), preset=0) * 24


MAKERS: dict[str, Maker] = {
    "huge_image.tif": _tiff(lambda: bytes(512), _256=400_000, _257=400_000, _278=400_000),
    "huge_image_in_lines.tif": _tiff(lambda: bytes(512), _256=400_000, _257=400_000, _278=1),
    "many_samples.tif": _tiff(lambda: bytes(512), _256=60_000, _257=60_000, _277=65_000),
    "huge_tile.tif": _tiff(
        lambda: bytes(512), _322=2**30, _323=2**30, _324=8, _325=256, _273=-1, _278=-1, _279=-1
    ),
    "huge_tile_of_small_image.tif": _tiff(
        lambda: deflated(2 * GIB), _259=_DEFLATE, _322=40_000, _323=40_000, _324=8,
        _325=2_000_000, _273=-1, _278=-1, _279=-1,
    ),
    "largest_sizes.tif": _tiff(lambda: bytes(512), _256=2**31 - 1, _257=2**31 - 1, _259=_DEFLATE),
    "many_pages.tif": _bytes(_many_pages),
    "many_strips.tif": _bytes(_many_strips),
    "loop_of_pages.tif": _bytes(lambda: tiff(bytes(256), {}, 8)),
    "loop_of_subpages.tif": _tiff(lambda: b"\7" * 256, _330=8),
    "png_in_strip.tif": _tiff(lambda: png(30_000, 50_000), _259=_PNG_IN_TIFF),
    "jpeg_in_strip.tif": _tiff(lambda: _jpeg(65_500, 65_500), _259=_JPEG),
    "zstd_in_strip.tif": _tiff(lambda: zstd_frame(2 * GIB), _259=_ZSTD),
    "zstd_frames_in_strip.tif": _tiff(lambda: zstd_frame(GIB) * 3, _259=_ZSTD),
    "zstd_in_zstd.tif": _tiff(lambda: _twice(2 * GIB), _259=_ZSTD),
    "zstd_lying_size.tif": _tiff(lambda: _lying(2**44), _259=_ZSTD),
    "deflate_in_strip.tif": _tiff(lambda: deflated(4 * GIB), _259=_DEFLATE),
    "lzma_in_strip.tif": _tiff(_lzma, _259=_LZMA),
    "bits.png": _bytes(lambda: png(40_000, 40_000, bits=1)),
    "gray.png": _bytes(lambda: png(30_000, 50_000)),
    "color.png": _bytes(lambda: png(30_000, 30_000, bits=16, color=2)),
    "text.png": _picture(chunk(b"zTXt", b"Comment\0\0" + deflated(2 * GIB))),
    "long_text.png": _picture(chunk(b"iTXt", b"Comment\0\1\0\0\0" + deflated(2 * GIB))),
    "profile.png": _picture(chunk(b"iCCP", b"ICC\0\0" + deflated(2 * GIB))),
    "pixels_beyond.png": _bytes(
        lambda: b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", deflated(4 * GIB, (b"\0" + b"\7" * 16) * 16))
        + chunk(b"IEND", b"")
    ),
    "huge.bmp": _bytes(lambda: _bmp(100_000, 100_000, 0)),
    "packed.bmp": _bytes(lambda: _bmp(40_000, 40_000, 1)),
    "huge.jpg": _bytes(lambda: _jpeg(65_500, 65_500)),
    "huge.nii": _bytes(lambda: _nifti(shape=(32_000, 32_000, 1_000)) + bytes(1000)),
    "far_offset.nii": _bytes(lambda: _nifti(offset=1e30) + bytes(5000)),
    "huge.nii.gz": _bytes(
        lambda: deflated(2**24, _nifti(shape=(32_000, 32_000, 1_000)), wbits=31)
    ),
    "far_offset.nii.gz": _bytes(lambda: deflated(8 * GIB, _nifti(offset=2.0**32), wbits=31)),
    "extension.nii.gz": _bytes(lambda: deflated(4 * GIB, _extension(2**31 - 16), wbits=31)),
    "zeros_after_the_image.nii.gz": _bytes(
        lambda: deflated(16 * GIB, _nifti() + bytes(4) + b"\7" * 4096, wbits=31)
    ),
    "huge.npy": _bytes(
        lambda: _npy(b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }")
    ),
    "long_header.npy": _bytes(lambda: _npy(b"{", version=2, length=2**31)),
    "nested_header.npy": _bytes(lambda: _npy(b"(" * 100_000, version=2)),
    "packed.npz": _npz,
}  # fmt: skip


def _twice(length: int) -> bytes:
    from imagecodecs import zstd_encode

    return bytes(zstd_encode(zstd_frame(length)))


def _lying(length: int) -> bytes:
    """A frame of 128 kB whose header claims more."""
    frame = bytearray(zstd_frame(2**17))
    frame[5:13] = struct.pack("<Q", length)
    return bytes(frame)
