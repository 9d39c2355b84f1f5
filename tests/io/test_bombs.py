"""Small files that unpack to much are refused before they do, in little memory and time."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unmask.errors import DataError
from unmask.io import open_image

SIDE = 2_000
# Opens and reads each file; reports what was said, processor seconds and growth of memory.
SCRIPT = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from unmask.errors import DataError
from unmask.io import open_image
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def read(path):
    try:
        return "read", list(open_image(path, ndim=int(path.split("/")[-1][0])).read().shape)
    except DataError as error:
        return "refused", str(error)
read(sys.argv[1])
rows = {}
for path in sys.argv[2:]:
    before, start = peak(), time.process_time()
    how, what = read(path)
    rows[path] = [how, what, time.process_time() - start, peak() - before]
print(json.dumps(rows))
"""


def strip(path: Path, code: int, data: bytes, *, rows: int = 16, **tags: int) -> None:
    """A TIFF of 16 x 16 values of 8 bits in one strip of any content."""
    fields = {
        256: 16, 257: rows, 258: 8, 259: code, 262: 1, 273: 8, 277: 1, 278: rows, 279: len(data)
    }  # fmt: skip
    fields |= {int(tag[1:]): value for tag, value in tags.items()}
    body = b"".join(struct.pack("<HHII", tag, 4, 1, fields[tag]) for tag in sorted(fields))
    page = struct.pack("<H", len(fields)) + body + bytes(4)
    start = b"II*\0" + struct.pack("<I", 8 + len(data) + len(data) % 2)
    path.write_bytes(start + data + bytes(len(data) % 2) + page)


def picture(codec: str) -> Callable[[], bytes]:
    def encode() -> bytes:
        # JPEG XL takes seconds to pack more.
        side = 500 if codec == "jpegxl" else SIDE
        values = np.zeros((side, side, 3) if codec == "webp" else (side, side), np.uint8)
        return bytes(getattr(imagecodecs, f"{codec}_encode")(values))

    return encode


def png(body: bytes, *extra: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        code = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + code

    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *(chunk(one[:4], one[4:]) for one in extra)]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IDAT", body), chunk(b"IEND", b"")])


def nifti(offset: float, *, tail: bytes, second: bool = False) -> bytes:
    kind: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    header = kind()
    header.set_data_shape((8, 8, 8))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = offset
    return header.binaryblock + tail


LARGE = bytes(2**26)
EXTENSIONS = b"\1\0\0\0" + struct.pack("<ii8x", 16, 6) * (60 * 2**16)
OME = (
    '<OME xmlns="http://x/OME"><Image><Pixels DimensionOrder="XYZCT" SizeX="16" SizeY="16" '
    'SizeZ="2" SizeC="1" SizeT="1" Type="uint8">{}</Pixels></Image></OME>'
)


def described(path: Path, text: str) -> None:
    array = np.zeros((2, 16, 16), np.uint8)
    tifffile.imwrite(path, array, description=text, metadata=None, photometric="minisblack")


def make_strips(folder: Path) -> None:
    for code, codec in [(34933, "png"), (7, "jpeg8"), (34712, "jpeg2k"), (50001, "webp"),
                        (50002, "jpegxl"), (22610, "jpegxr"), (34887, "lerc")]:  # fmt: skip
        samples = {"_277": 3} if codec == "webp" else {}
        strip(folder / f"2_{codec}.tif", code, picture(codec)(), **samples)
    plain = bytes(2**22)
    for code, codec in [(8, "zlib"), (50000, "zstd"), (34925, "lzma"), (5, "lzw")]:
        content = plain if codec != "lzw" else plain[: 2**20]
        data = bytes(getattr(imagecodecs, f"{codec}_encode")(content))
        strip(folder / f"2_{codec}.tif", code, data)
        strip(folder / f"2_{codec}_twice.tif", code, getattr(imagecodecs, f"{codec}_encode")(data))
    strip(folder / "2_packbits.tif", 32773, b"\x81\0" * 2**18)
    # A strip of a gigabyte in a few bytes, under a page that says so.
    data = bytes(imagecodecs.zstd_encode(bytes(2**29), 1))
    strip(folder / "2_honest.tif", 50000, data, rows=2**25)


def make_others(folder: Path) -> None:
    for name, second in [("3_first", False), ("3_second", True)]:
        content = nifti(float(2**26 + 4096), tail=LARGE, second=second)
        (folder / f"{name}.nii.gz").write_bytes(gzip.compress(content, 1))
        least = 544 if second else 352
        content = nifti(least + len(EXTENSIONS) - 4, tail=EXTENSIONS + bytes(512), second=second)
        (folder / f"{name}_extensions.nii.gz").write_bytes(gzip.compress(content, 1))
    content = nifti(352.0, tail=bytes(4) + LARGE)
    (folder / "3_tail.nii.gz").write_bytes(gzip.compress(content, 1))
    packed = zlib.compress(bytes(2**25), 1)
    rows = zlib.compress(bytes(17 * 16))
    (folder / "2_text.png").write_bytes(png(rows, b"zTXtkey\0\0" + packed))
    (folder / "2_texts.png").write_bytes(png(rows, *[b"zTXtkey\0\0" + packed] * 8))
    (folder / "2_profile.png").write_bytes(png(rows, b"iCCPname\0\0" + packed))
    (folder / "2_rows.png").write_bytes(png(packed))
    (folder / "2_chunks.png").write_bytes(png(rows, *[b"abCd"] * 40_000))
    Pillow.new("L", (SIDE, SIDE)).save(folder / "2_page.png")
    described(folder / "3_count.tif", OME.format('<TiffData PlaneCount="1000000000000"/>'))
    described(folder / "3_plane.tif", OME.format('<TiffData FirstZ="1000000000000"/>'))
    many = "".join(f'<TiffData IFD="{number % 2}"/>' for number in range(20_000))
    described(folder / "3_many.tif", OME.format(many))
    described(
        folder / "3_ids.tif", OME.format('<XTiffData><XUUID FileName="/dev/zero"/></XTiffData>')
    )


# What a program may read without harm: an honest picture, or extras that are left alone.
MAY_BE_READ = {"2_page.png", "2_chunks.png", "2_rows.png",
               "3_many.tif", "3_plane.tif", "3_ids.tif", "3_first_extensions.nii.gz",
               "3_second_extensions.nii.gz"}  # fmt: skip


def test_bombs(tmp_path: Path) -> None:
    make_strips(tmp_path)
    make_others(tmp_path)
    paths = sorted(str(path) for path in tmp_path.iterdir())
    tifffile.imwrite(tmp_path / "2_harmless.tif", np.zeros((16, 16), np.uint8))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "2_harmless.tif"), *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout)
    assert set(rows) == set(paths)
    for path, (how, what, seconds, grown) in rows.items():
        name = Path(path).name
        assert how == "refused" or name in MAY_BE_READ, (name, what)
        assert how == "read" or name in what, (name, what)
        assert seconds < 2, (name, seconds)
        assert grown < 300, (name, grown)


@pytest.mark.parametrize("codec", ["png", "jpeg8", "jpeg2k", "webp", "jpegxl", "jpegxr", "lerc"])
def test_honest_pictures_in_strips(tmp_path: Path, codec: str) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    samples = {}
    if codec == "webp":
        values, samples = np.stack([values] * 3, -1), {"_277": 3, "_262": 2}
    options = {"lossless": True} if codec in ("webp", "jpegxl") else {}
    data = bytes(getattr(imagecodecs, f"{codec}_encode")(values, **options))
    code = {"png": 34933, "jpeg8": 7, "jpeg2k": 34712, "webp": 50001, "jpegxl": 50002,
            "jpegxr": 22610, "lerc": 34887}[codec]  # fmt: skip
    strip(tmp_path / "a.tif", code, data, **samples)
    found = open_image(tmp_path / "a.tif", ndim=2).read()
    truth = np.moveaxis(values.reshape(16, 16, -1), -1, 0)
    assert np.abs(found.astype(int) - truth).max() <= (4 if codec == "jpeg8" else 0)


@pytest.mark.parametrize("codec", ["zlib", "zstd", "lzw", "lzma", "packbits"])
@pytest.mark.parametrize("extra", [-1, 0, 1, 16])
def test_a_strip_holds_what_its_page_says(tmp_path: Path, codec: str, extra: int) -> None:
    values = np.arange(256, dtype=np.uint8).tobytes() + bytes(16)
    code = {"zlib": 8, "zstd": 50000, "lzw": 5, "lzma": 34925, "packbits": 32773}[codec]
    data = getattr(imagecodecs, f"{codec}_encode")(values[: 256 + extra])
    strip(tmp_path / "a.tif", code, data)
    try:
        found = open_image(tmp_path / "a.tif", ndim=2).read()
    except DataError:
        assert extra != 0
    else:
        # Programs may leave a few bytes behind the last value.
        assert extra in (0, 1)
        assert found.tobytes() == values[:256]
