"""Bombs in chunked files: HDF5, Zarr, DICOM."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from injection.streams import GIB, deflated, zstd_frame

_V2 = {
    "zarr_format": 2, "shape": [64, 64], "chunks": [64, 64], "dtype": "|u1",
    "compressor": None, "fill_value": 0, "filters": None, "order": "C",
}  # fmt: skip


def _hdf5(chunk: Callable[[], bytes], **options: Any) -> Callable[[Path], None]:
    """A data set of 64 x 64 bytes whose one chunk is replaced."""

    def make(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", (64, 64), "u1", chunks=(64, 64), **options)
            data.id.write_direct_chunk((0, 0), chunk())

    return make


def _hdf5_shape(path: Path, **options: Any) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("data", dtype="u1", **options)


def _zarr2(chunk: Callable[[], bytes] | None, **change: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / ".zarray").write_text(json.dumps(_V2 | change))
        if chunk is not None:
            (path / "0.0").write_bytes(chunk())

    return make


def _zarr3(
    chunk: Callable[[], bytes] | None,
    *codecs: dict[str, Any],
    shape: tuple[int, int] = (64, 64),
    chunks: tuple[int, int] = (64, 64),
) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        meta = {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0, "codecs": [{"name": "bytes"}, *codecs], "attributes": {},
        }  # fmt: skip
        if codecs and codecs[0]["name"] == "sharding_indexed":
            meta["codecs"] = list(codecs)
        path.mkdir()
        (path / "zarr.json").write_text(json.dumps(meta))
        if chunk is not None:
            (path / "c" / "0").mkdir(parents=True)
            (path / "c" / "0" / "0").write_bytes(chunk())

    return make


def _text(name: str, text: Callable[[], str]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_text(text())

    return make


def _blosc(length: int) -> bytes:
    """The header of a Blosc block that claims ``length`` bytes, and a memcpy flag."""
    return struct.pack("<BBBBIII", 2, 1, 0x02, 1, length, length, 200) + bytes(184)


def _dicom(syntax: str, pixels: Callable[[Any], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import CTImageStorage, generate_uid

        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.SOPClassUID, data.SeriesInstanceUID = CTImageStorage, generate_uid()
        data.Modality, data.Rows, data.Columns = "CT", 16, 16
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        data.ImagePositionPatient, data.PixelSpacing = [0, 0, 0], [1, 1]
        data.ImageOrientationPatient, data.SliceThickness = [1, 0, 0, 0, 1, 0], 1
        pixels(data)
        folder = path.parent / path.stem
        folder.mkdir()
        data.save_as(folder / "a.dcm", enforce_file_format=True)
        if syntax.endswith(".99"):
            _deflated_dicom(folder / "a.dcm")

    return make


def _deflated_dicom(file: Path) -> None:
    """Replace the deflated data set by one that goes on for gigabytes."""
    import zlib

    content = file.read_bytes()
    # Group 2 tells its own length; the data set follows.
    length = struct.unpack("<I", content[140:144])[0]
    head, packed = content[: 144 + length], content[144 + length :]
    plain = zlib.decompress(packed, wbits=-15)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 2**32 - 2)
    file.write_bytes(head + deflated(4 * GIB, plain + pixels, wbits=-15))


def _plain_pixels(data: Any) -> None:
    data.PixelData = b"\7" * 256


def _huge_pixels(data: Any) -> None:
    data.Rows = data.Columns = 65_535
    data.PixelData = b"\7" * 256


def _many_frames(data: Any) -> None:
    data.NumberOfFrames = 2**31 - 1
    data.PixelData = b"\7" * 256


def _packed_pixels(data: Any) -> None:
    from pydicom.encaps import encapsulate

    # One RLE segment: every two bytes stand for 128.
    head = struct.pack("<16I", 1, 64, *([0] * 14))
    data.PixelData = encapsulate([head + b"\x81\0" * 12_000_000])
    data["PixelData"].VR = "OB"


def _no_pixels(data: Any) -> None:
    del data.Rows


_SHARDS: dict[str, Any] = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [1, 1],
        "codecs": [{"name": "bytes"}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    },
}
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
_GZIP = {"name": "gzip", "configuration": {"level": 1}}
_BLOSC = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}

MAKERS: dict[str, Callable[[Path], None]] = {
    "gzip_in_chunk.h5": _hdf5(lambda: deflated(4 * GIB), compression="gzip"),
    "gzip_in_shuffled_chunk.h5": _hdf5(
        lambda: deflated(4 * GIB), compression="gzip", shuffle=True, fletcher32=True
    ),
    "huge_chunk.h5": lambda path: _hdf5_shape(path, shape=(10**6, 10**6), chunks=(60_000, 60_000)),
    "huge_image.h5": lambda path: _hdf5_shape(path, shape=(10**6, 10**6), chunks=(100, 100)),
    "huge_chunk.zarr": _zarr2(None, shape=[10**6] * 2, chunks=[10**6] * 2),
    "huge_chunk_there.zarr": _zarr2(
        lambda: zstd_frame(GIB), shape=[10**6] * 2, chunks=[10**6] * 2,
        compressor={"id": "zstd", "level": 1},
    ),
    "huge_image.zarr": _zarr2(None, shape=[10**6] * 2, chunks=[100] * 2),
    "zstd_in_chunk.zarr": _zarr2(
        lambda: zstd_frame(4 * GIB), compressor={"id": "zstd", "level": 1}
    ),
    "zlib_in_chunk.zarr": _zarr2(lambda: deflated(4 * GIB), compressor={"id": "zlib", "level": 1}),
    "gzip_in_chunk.zarr": _zarr2(
        lambda: deflated(4 * GIB, wbits=31), compressor={"id": "gzip", "level": 1}
    ),
    "blosc_in_chunk.zarr": _zarr2(lambda: _blosc(2**31 - 32), compressor=_BLOSC),
    "zstd3_in_chunk.zarr": _zarr3(lambda: zstd_frame(4 * GIB), _ZSTD),
    "zstd3_frames_in_chunk.zarr": _zarr3(lambda: zstd_frame(GIB) * 4, _ZSTD),
    "gzip3_in_chunk.zarr": _zarr3(lambda: deflated(4 * GIB, wbits=31), _GZIP),
    "huge_shard.zarr": _zarr3(
        lambda: bytes(1000), _SHARDS, shape=(10**5, 10**5), chunks=(10**5, 10**5)
    ),
    "long_metadata.zarr": _text("zarr.json", lambda: " " * (64 * 2**20)),
    "nested_metadata.zarr": _text("zarr.json", lambda: "[" * 10**6),
    "deflated.dcm": _dicom("1.2.840.10008.1.2.1.99", _plain_pixels),
    "huge.dcm": _dicom("1.2.840.10008.1.2.1", _huge_pixels),
    "many_frames.dcm": _dicom("1.2.840.10008.1.2.1", _many_frames),
    "packed.dcm": _dicom("1.2.840.10008.1.2.5", _packed_pixels),
    "no_rows.dcm": _dicom("1.2.840.10008.1.2.1", _no_pixels),
}  # fmt: skip
