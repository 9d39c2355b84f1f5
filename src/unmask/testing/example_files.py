"""Small valid files of formats that unmask only reads, for tests of readers.

Where a library writes a format it is used; the others are written byte by byte after their
description.
"""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import DataError

# Voxel size z, y, x of files that can hold one, in the unit of the format.
SPACING = (2.0, 0.5, 0.25)
Writer = Callable[[Path, np.ndarray, str], None]


def write_example(path: Path, array: np.ndarray, axes: str) -> None:
    """Write an array; ``axes`` is ``YX``, ``ZYX``, ``CYX`` or ``CZYX``.

    Raises:
        DataError: the format cannot hold the array.
        KeyError: there is no example of this format.
    """
    WRITERS[path.suffix.lower()](path, array, axes)


def _deep(array: np.ndarray, axes: str) -> np.ndarray:
    """``(C, Z, Y, X)``."""
    array = array if "C" in axes else array[None]
    return array if "Z" in axes else array[:, None]


def _plane(array: np.ndarray, axes: str, kinds: str = "u") -> np.ndarray:
    """``(Y, X)`` or ``(Y, X, C)``."""
    if "Z" in axes or array.dtype.kind not in kinds:
        raise DataError(f"example: expected a plane, found {axes}, {array.dtype}. Skip it.")
    return np.moveaxis(array, 0, -1) if "C" in axes else array


def _gray(array: np.ndarray, axes: str) -> np.ndarray:
    if "C" in axes:
        raise DataError("example: expected one channel, found several. Skip it.")
    return array


def write_slide(path: Path, array: np.ndarray, axes: str) -> None:
    """A slide as Aperio writes it, packed without loss."""
    tifffile: Any = importlib.import_module("tifffile")
    plane = _plane(array, axes, "uf")
    description = "Aperio Image Library v12\r\n|AppMag = 20|MPP = 0.25"
    tifffile.imwrite(
        path, plane, tile=(64, 64), compression="zlib", metadata=None, description=description,
        photometric="rgb" if "C" in axes else "minisblack",
    )  # fmt: skip


def write_webp(path: Path, array: np.ndarray, axes: str) -> None:
    """Lossless WebP; gray values become three equal channels."""
    pillow: Any = importlib.import_module("PIL.Image")
    plane = _plane(array, axes)
    if plane.dtype != np.uint8:
        raise DataError(f"example: expected uint8, found {plane.dtype}. Skip it.")
    plane = plane if "C" in axes else np.repeat(plane[..., None], 3, axis=-1)
    pillow.fromarray(plane).save(path, lossless=True)


def write_jpeg2000(path: Path, array: np.ndarray, axes: str) -> None:
    """Lossless JPEG 2000."""
    imagecodecs: Any = importlib.import_module("imagecodecs")
    path.write_bytes(imagecodecs.jpeg2k_encode(_plane(array, axes), level=0))


def write_imaris(path: Path, array: np.ndarray, axes: str) -> None:
    """An Imaris file of one level, padded to whole chunks."""
    h5py: Any = importlib.import_module("h5py")
    values = _deep(array, axes)
    depth, height, width = values.shape[1:]
    sizes = {"Z": depth, "Y": height, "X": width}

    def text(node: Any, name: str, value: object) -> None:
        node.attrs[name] = np.array([c.encode() for c in str(value)], "S1")

    with h5py.File(path, "w") as file:
        info = file.create_group("DataSetInfo/Image")
        text(info, "Unit", "um")
        for number, (axis, size) in enumerate(zip("XYZ", SPACING[::-1], strict=True)):
            text(info, f"ExtMin{number}", 0)
            text(info, f"ExtMax{number}", size * sizes[axis])
            text(info, axis, sizes[axis])
        for number, channel in enumerate(values):
            text(file.create_group(f"DataSetInfo/Channel {number}"), "Name", f"channel {number}")
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint 0/Channel {number}")
            for axis, size in sizes.items():
                text(group, f"ImageSize{axis}", size)
            padded = np.pad(channel, [(0, -n % 8) for n in channel.shape])
            group.create_dataset("Data", data=padded, chunks=(8, 8, 8), compression="gzip")


def write_mrc(path: Path, array: np.ndarray, axes: str) -> None:
    """MRC by mrcfile."""
    mrcfile: Any = importlib.import_module("mrcfile")
    values = _gray(array, axes)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(values.astype(np.uint16) if values.dtype == np.uint8 else values)
        file.voxel_size = SPACING[::-1]


def write_nrrd(path: Path, array: np.ndarray, axes: str) -> None:
    """NRRD by pynrrd, packed; channels are its fast axis."""
    nrrd: Any = importlib.import_module("nrrd")
    count = len(axes.replace("C", ""))
    directions: Any = np.diag(SPACING[-count:][::-1])
    values = array.T
    if "C" in axes:
        values = np.moveaxis(values, -1, 0)
        directions = np.vstack([np.full(count, np.nan), directions])
    spaces = {2: {"space dimension": 2}, 3: {"space": "right-anterior-superior"}}
    header = {"space directions": directions, "encoding": "gzip", **spaces[count]}
    nrrd.write(str(path), values, header)


def write_metaimage(path: Path, array: np.ndarray, axes: str) -> None:
    """MetaImage, raw in one file."""
    names = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT", "int16": "MET_SHORT",
             "float32": "MET_FLOAT", "uint32": "MET_UINT"}  # fmt: skip
    count = len(axes.replace("C", ""))
    values = np.moveaxis(array, 0, -1) if "C" in axes else array
    sizes = " ".join(map(str, array.shape[-count:][::-1]))
    # ITK counts to the left and the back.
    turn = np.diag([-1, -1, 1][:count]).ravel() if count == 3 else np.eye(2, dtype=int).ravel()
    lines = {
        "ObjectType": "Image", "NDims": count, "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, turn)), "Offset": " ".join("0" * count),
        "ElementSpacing": " ".join(map(str, SPACING[-count:][::-1])), "DimSize": sizes,
        "ElementNumberOfChannels": len(array) if "C" in axes else 1,
        "ElementType": names[array.dtype.name], "ElementDataFile": "LOCAL",
    }  # fmt: skip
    head = "".join(f"{name} = {value}\n" for name, value in lines.items())
    path.write_bytes(head.encode() + values.tobytes())


def write_pair(path: Path, array: np.ndarray, axes: str) -> None:
    """NIfTI in two files by nibabel."""
    nifti: Any = importlib.import_module("nibabel.nifti1")
    image = nifti.Nifti1Pair(_gray(array, axes).T, np.diag([*SPACING[::-1], 1.0]))
    image.header.set_xyzt_units("mm")
    image.to_filename(str(path))


def write_mgh(path: Path, array: np.ndarray, axes: str) -> None:
    """MGH or MGZ by nibabel."""
    mgh: Any = importlib.import_module("nibabel.freesurfer")
    values = _deep(_gray(array, axes), axes)[0]
    mgh.MGHImage(values.T, np.diag([*SPACING[::-1], 1.0])).to_filename(str(path))


def write_minc(path: Path, array: np.ndarray, axes: str) -> None:
    """MINC 2 with real values that are the stored ones."""
    h5py: Any = importlib.import_module("h5py")
    values = _deep(_gray(array, axes), axes)[0]
    names = ("zspace", "yspace", "xspace")
    with h5py.File(path, "w") as file:
        root = file.create_group("minc-2.0")
        for name, length, step in zip(names, values.shape, SPACING, strict=True):
            axis = root.create_dataset(f"dimensions/{name}", data=0)
            axis.attrs.update({"length": length, "start": 0.0, "step": step})
        image = root.create_dataset(
            "image/0/image", data=values, chunks=True, compression="gzip", fletcher32=True
        )
        image.attrs["dimorder"] = ",".join(names).encode()
        if values.dtype.kind in "ui":
            top = float(np.iinfo(values.dtype).max)
            image.attrs["valid_range"] = (0.0, top)
            root["image/0/image-min"], root["image/0/image-max"] = 0.0, top


def write_n5(path: Path, array: np.ndarray, axes: str) -> None:
    """An N5 container with one gzip array; z, y and x have names, channels are a slow axis."""
    tensorstore: Any = importlib.import_module("tensorstore")
    blocks = [min(16, n) for n in array.shape[::-1]]
    metadata = {
        "dimensions": array.shape[::-1], "blockSize": blocks, "dataType": array.dtype.name,
        "compression": {"type": "gzip"},
    }  # fmt: skip
    spec = {
        "driver": "n5", "metadata": metadata, "create": True, "delete_existing": True,
        "kvstore": {"driver": "file", "path": str(path / "raw")},
    }  # fmt: skip
    tensorstore.open(spec).result()[...] = array.T
    file = path / "raw" / "attributes.json"
    sizes = {"unit": "um", "dimensions": SPACING[::-1][: len(axes.replace("C", ""))]}
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "pixelResolution": sizes}))


def write_czi(path: Path, array: np.ndarray, axes: str) -> None:
    """A CZI of two tiles per plane, packed with zstd."""
    imagecodecs: Any = importlib.import_module("imagecodecs")
    pixels = {"uint8": 0, "uint16": 1, "float32": 2}
    values = _deep(array, axes)
    width = values.shape[-1]
    half = (width + 1) // 2
    out = bytearray()

    def segment(name: bytes, content: bytes) -> int:
        place = len(out)
        room = -(-len(content) // 32) * 32
        out.extend(struct.pack("<16sqq", name, room, len(content)))
        out.extend(content.ljust(room, b"\0"))
        return place

    def entry(place: int, channel: int, z: int, left: int, tile: np.ndarray, number: int) -> bytes:
        axes_of = [("X", left, tile.shape[1]), ("Y", 0, tile.shape[0]), ("C", channel, 1),
                   ("Z", z, 1), ("M", number, 1)]  # fmt: skip
        head = struct.pack("<2siqiiB5xi", b"DV", pixels[array.dtype.name], place, 0, 5, 0,
                           len(axes_of))  # fmt: skip
        return head + b"".join(
            struct.pack("<4siifi", name.encode(), start, size, 0.0, size)
            for name, start, size in axes_of
        )

    segment(b"ZISRAWFILE", bytes(80))
    entries = []
    for channel, z in np.ndindex(values.shape[:2]):
        for number, left in enumerate((0, half)):
            tile = np.ascontiguousarray(values[channel, z, :, left : left + half])
            packed = imagecodecs.zstd_encode(tile.tobytes())
            described = entry(len(out), channel, z, left, tile, number)
            entries.append(described)
            fixed = struct.pack("<iiq", 0, 0, len(packed)) + described.ljust(240, b"\0")
            segment(b"ZISRAWSUBBLOCK", fixed + packed)
    directory = segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries))
    xml = _czi_metadata(values.shape).encode()
    metadata = segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    struct.pack_into("<ii", out, 32, 1, 0)
    struct.pack_into("<iqq", out, 32 + 48, 0, directory, metadata)
    path.write_bytes(out)


def _czi_metadata(shape: tuple[int, ...]) -> str:
    sizes = "".join(f"<Size{a}>{n}</Size{a}>" for a, n in zip("CZYX", shape, strict=True))
    steps = "".join(
        f'<Distance Id="{axis}"><Value>{size * 1e-6}</Value></Distance>'
        for axis, size in zip("ZYX", SPACING, strict=True)
    )
    names = "".join(f'<Channel Id="Channel:{n}" Name="channel {n}"/>' for n in range(shape[0]))
    return (
        f"<ImageDocument><Metadata><Information><Image>{sizes}<Dimensions><Channels>{names}"
        f"</Channels></Dimensions></Image></Information><Scaling><Items>{steps}</Items></Scaling>"
        "</Metadata></ImageDocument>"
    )


def write_lif(path: Path, array: np.ndarray, axes: str) -> None:
    """A LIF of one image, whose channels follow each other in every plane."""
    values = np.moveaxis(_deep(array, axes), 0, 1)
    depth, count, rows, columns = values.shape
    size = values.dtype.itemsize
    plane = rows * columns * size
    lengths = [("1", columns, size, SPACING[2]), ("2", rows, columns * size, SPACING[1])]
    if "Z" in axes:
        lengths.append(("3", depth, count * plane, SPACING[0]))
    described = "".join(
        f'<DimensionDescription DimID="{number}" NumberOfElements="{length}" Origin="0" '
        f'Length="{step * 1e-6 * (length - 1)}" Unit="m" BitInc="0" BytesInc="{stride}"/>'
        for number, length, stride, step in lengths
    )
    kind = int(values.dtype.kind == "f")
    channels = "".join(
        f'<ChannelDescription DataType="{kind}" ChannelTag="0" Resolution="{8 * size}" '
        f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="channel {number}" '
        f'IsLUTInverted="0" BytesInc="{number * plane}" BitInc="0"/>'
        for number in range(count)
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="project"><Children>'
        '<Element Name="image"><Data><Image><ImageDescription><Channels>'
        f"{channels}</Channels><Dimensions>{described}</Dimensions></ImageDescription></Image>"
        f'</Data><Memory Size="{values.nbytes}" MemoryBlockID="MemBlock_1"/></Element>'
        "</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    name = "MemBlock_1".encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2) + xml
    block = struct.pack("<IIBQBI", 0x70, len(name) + 14, 0x2A, values.nbytes, 0x2A, len(name) // 2)
    path.write_bytes(head + block + name + values.tobytes())


def write_nd2(path: Path, array: np.ndarray, axes: str) -> None:
    """An ND2 of version 3 with one frame per slice."""
    values = np.moveaxis(_deep(array, axes), 0, -1)
    depth, rows, columns, count = values.shape
    if values.dtype.name not in ("uint8", "uint16", "float32"):
        raise DataError(f"example: expected uint8 or uint16, found {values.dtype}. Skip it.")
    bits = 8 * values.dtype.itemsize
    attributes = {
        "uiWidth": columns, "uiWidthBytes": columns * count * bits // 8, "uiHeight": rows,
        "uiComp": count, "uiBpcInMemory": bits, "uiBpcSignificant": bits,
        "uiSequenceCount": depth, "eCompression": 2,
    }  # fmt: skip
    planes = {
        # The library fails on a plane without a dye.
        f"a{n}": {
            "uiCompCount": 1,
            "sDescription": f"channel {n}",
            "pFluorescentProbe": {"uiId": 1},
        }
        for n in range(count)
    }
    metadata = {
        "bCalibrated": True, "dCalibration": SPACING[-1],
        "sPicturePlanes": {"uiCount": count, "sPlaneNew": planes},
    }  # fmt: skip
    loop = {"eType": 4, "uLoopPars": {"uiCount": depth, "dZStep": SPACING[0]}}
    parts: list[tuple[bytes, bytes]] = [
        (b"ImageAttributesLV!", _variant("SLxImageAttributes", attributes)),
        (b"ImageMetadataSeqLV|0!", _variant("SLxPictureMetadata", metadata)),
    ]
    if "Z" in axes:
        parts.append((b"ImageMetadataLV!", _variant("SLxExperiment", loop)))
    parts += [
        (f"ImageDataSeq|{number}!".encode(), bytes(8) + frame.tobytes())
        for number, frame in enumerate(values)
    ]
    out, places = bytearray(), []

    def chunk(name: bytes, content: bytes, reserve: int) -> int:
        place = len(out)
        out.extend(struct.pack("<IIQ", 0x0ABECEDA, reserve, len(content)))
        out.extend(name.ljust(reserve, b"\0") + content)
        return place

    chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    for name, content in parts:
        # The library expects the values of a frame after 4096 bytes.
        places.append((name, chunk(name, content, 4072), len(content)))
    listed = b"".join(name + struct.pack("<QQ", place, size) for name, place, size in places)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!"
    start = chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + end + struct.pack("<Q", 0), 32)
    out[-8:] = struct.pack("<Q", start)
    path.write_bytes(out)


def _variant(name: str, value: Any) -> bytes:
    """A value as ND2 describes it: kind, name, content."""
    title = f"{name}\0".encode("utf-16-le")
    head = len(title) // 2
    if isinstance(value, Mapping):
        inner = b"".join(_variant(key, item) for key, item in value.items())
        length = 2 + len(title) + 12 + len(inner)
        size = struct.pack("<IQ", len(value), length)
        return bytes([11, head]) + title + size + inner + bytes(8 * len(value))
    if isinstance(value, str):
        return bytes([8, head]) + title + f"{value}\0".encode("utf-16-le")
    if isinstance(value, bool):
        return bytes([1, head]) + title + bytes([value])
    kind, code = (6, "<d") if isinstance(value, float) else (3, "<I")
    return bytes([kind, head]) + title + struct.pack(code, value)


WRITERS: dict[str, Writer] = {
    ".svs": write_slide, ".webp": write_webp, ".jp2": write_jpeg2000, ".ims": write_imaris,
    ".mrc": write_mrc, ".nrrd": write_nrrd, ".mha": write_metaimage, ".img": write_pair,
    ".mgz": write_mgh, ".mgh": write_mgh, ".mnc": write_minc, ".n5": write_n5, ".czi": write_czi,
    ".lif": write_lif, ".nd2": write_nd2,
}  # fmt: skip
