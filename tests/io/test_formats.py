"""What other programs write is read as they mean it."""

from __future__ import annotations

import concurrent.futures
import gc
import gzip
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow

from unmask.errors import DataError
from unmask.io import cache as recent
from unmask.io import list_files, open_image, open_labels, save_image, stem
from unmask.space import Box

RNG = np.random.default_rng(3)
VOLUME = RNG.integers(0, 60000, (9, 70, 90)).astype(np.uint16)


# TIFF

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"tile": (16, 32)},
    {"tile": (16, 32), "byteorder": ">"},
    {"tile": (16, 32), "compression": "zlib", "predictor": True},
    {"compression": "lzw"},
    {"compression": "zstd", "byteorder": ">"},
    {"rowsperstrip": 7, "compression": "zlib"},
    {"rowsperstrip": 7, "contiguous": False},
    {"tile": (4, 16, 32), "compression": "zlib"},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("metadata", [{"axes": "ZYX"}, None], ids=str)
def test_tiff_layouts(tmp_path: Path, layout: dict[str, Any], metadata: Any) -> None:
    path = tmp_path / "v.tif"
    tifffile.imwrite(path, VOLUME, metadata=metadata, photometric="minisblack", **layout)
    image = open_image(path, ndim=3)
    assert image.shape == (1, *VOLUME.shape)
    np.testing.assert_array_equal(image.read()[0], VOLUME)
    box = Box((2, 15, 20), (6, 66, 90))
    np.testing.assert_array_equal(image.read(box)[0], VOLUME[box.slices])
    assert image.read(box).dtype == np.dtype(np.uint16)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16), "compression": "zlib"}], ids=str)
def test_tiff_colors(tmp_path: Path, planar: str, layout: dict[str, Any]) -> None:
    colors = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)
    stored = colors if planar == "contig" else np.moveaxis(colors, -1, 0)
    tifffile.imwrite(tmp_path / "c.tif", stored, photometric="rgb", planarconfig=planar, **layout)
    image = open_image(tmp_path / "c.tif", ndim=2)
    np.testing.assert_array_equal(image.read(), np.moveaxis(colors, -1, 0))
    np.testing.assert_array_equal(image[1:, 5:20, 7], colors[5:20, 7, 1:].T)


def test_tiff_bilevel(tmp_path: Path) -> None:
    mask = RNG.random((30, 33)) > 0.5
    tifffile.imwrite(tmp_path / "b.tif", mask)
    image = open_image(tmp_path / "b.tif")
    assert image.dtype == bool
    np.testing.assert_array_equal(image.read()[0], mask)
    assert open_labels(tmp_path / "b.tif").read().dtype == np.uint8


def test_imagej_hyperstack(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 2, 20, 24)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "i.tif",
        stack,
        imagej=True,
        resolution=(1 / 0.3, 1 / 0.2),
        metadata={"axes": "ZCYX", "spacing": 1.5, "unit": "micron"},
    )
    image = open_image(tmp_path / "i.tif")
    assert image.axes == "CZYX"
    assert image.spacing == pytest.approx((1.5, 0.2, 0.3), rel=1e-4)
    assert image.unit == "um"
    np.testing.assert_array_equal(image.read(), stack.transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(image[1, 3], stack[3, 1])


def test_fiji_sees_our_voxel_size(tmp_path: Path) -> None:
    save_image(tmp_path / "a.tif", VOLUME, spacing=(2, 0.5, 0.25), unit="um")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["spacing"] == 2
        assert file.series[0].axes == "ZYX"


def test_ome_units_are_brought_together(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "o.ome.tif",
        VOLUME,
        metadata={
            "axes": "ZYX", "PhysicalSizeX": 4, "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 4, "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 0.04, "PhysicalSizeZUnit": "µm",
        },
    )  # fmt: skip
    image = open_image(tmp_path / "o.ome.tif", ndim=3)
    assert image.spacing == pytest.approx((40, 4, 4))
    assert image.unit == "nm"


def test_printing_resolution_is_no_voxel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "p.tif", VOLUME[0], resolution=(72, 72), resolutionunit="INCH")
    assert open_image(tmp_path / "p.tif").spacing is None


def test_pyramid_levels(tmp_path: Path) -> None:
    path = tmp_path / "p.ome.tif"
    options: dict[str, Any] = {"tile": (16, 16), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(
            VOLUME[0],
            subifds=1,
            metadata={"axes": "YX", "PhysicalSizeX": 1, "PhysicalSizeY": 1},
            **options,
        )
        file.write(VOLUME[0, ::2, ::2], subfiletype=1, **options)
    assert open_image(path).shape == (1, 70, 90)
    small = open_image(path, level=1)
    np.testing.assert_array_equal(small.read()[0], VOLUME[0, ::2, ::2])
    np.testing.assert_array_equal(small[0, 3:30, 2:40], VOLUME[0, ::2, ::2][3:30, 2:40])
    assert small.spacing == (2, 2)
    with pytest.raises(DataError, match="level=2"):
        open_image(path, level=2)


# Axes


@pytest.mark.parametrize(
    ("shape", "ndim", "axes"),
    [
        ((6, 20, 24), 3, "CZYX"),
        ((20, 24, 3), 2, "CYX"),
        ((20, 24, 4), None, "CYX"),
        ((20, 24, 3), 3, "CZYX"),
        ((6, 20, 24, 3), 3, "CZYX"),
        ((1, 20, 24), 2, "CYX"),
        ((1, 20, 24), 3, "CZYX"),
        ((20, 24), None, "CYX"),
    ],
)
def test_axes_without_names(
    tmp_path: Path, shape: tuple[int, ...], ndim: int | None, axes: str
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert open_image(tmp_path / "a.npy", ndim=ndim).axes == axes


@pytest.mark.parametrize(
    ("shape", "ndim"),
    [((6, 20, 24), 2), ((6, 20, 24), None), ((20, 24), 3), ((2, 6, 20, 24), 3), ((20,), 2)],
)
def test_ambiguous_axes_are_asked_for(
    tmp_path: Path, shape: tuple[int, ...], ndim: int | None
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(DataError, match=r"a\.npy: expected .* axes"):
        open_image(tmp_path / "a.npy", ndim=ndim)


def test_stacks_of_pages(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", VOLUME, metadata=None)
    assert open_image(tmp_path / "v.tif", ndim=3).shape == (1, 9, 70, 90)
    assert open_image(tmp_path / "v.tif", axes="CYX").shape == (9, 70, 90)
    with pytest.raises(DataError, match=r"a stack of 9 planes.*axes=CYX.*predict --planes z"):
        open_image(tmp_path / "v.tif", ndim=2)


def test_metadata_against_need(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "v.tif", VOLUME, metadata={"axes": "ZYX"})
    with pytest.raises(DataError, match=r"expected 2 spatial axes, found 3 .*z, y, x = 9, 70, 90"):
        open_image(tmp_path / "v.tif", ndim=2)
    tifffile.imwrite(tmp_path / "t.tif", VOLUME, metadata={"axes": "TYX"})
    with pytest.raises(DataError, match="9 of them"):
        open_image(tmp_path / "t.tif", ndim=3)
    assert open_image(tmp_path / "t.tif", axes="ZYX", ndim=3).shape == (1, 9, 70, 90)
    for axes in ("YX", "CZYX", "ZYQ"):
        with pytest.raises(DataError, match=axes):
            open_image(tmp_path / "t.tif", axes=axes)


def test_transposed_axes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    image = open_image(tmp_path / "a.npy", axes="XYZ")
    np.testing.assert_array_equal(image.read()[0], VOLUME.T)
    np.testing.assert_array_equal(image[0, 3:70, 5], VOLUME.T[3:70, 5])


def test_labels_without_names_are_space(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOLUME)
    assert open_labels(tmp_path / "a.npy").shape == (1, 9, 70, 90)


# PNG and its kin


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_keep_their_values(tmp_path: Path, bits: int) -> None:
    values = RNG.integers(0, 2**bits, (9, 13)).astype(np.uint8)
    rows = [bytes([0]) + _packed(row, bits) for row in values]
    _png(tmp_path / "a.png", values.shape, bits, 0, b"".join(rows))
    np.testing.assert_array_equal(open_labels(tmp_path / "a.png").read()[0], values)
    np.testing.assert_array_equal(open_image(tmp_path / "a.png").read()[0], values)


def _packed(row: np.ndarray, bits: int) -> bytes:
    each = np.unpackbits(row[:, None], axis=1)[:, -bits:]
    return np.packbits(each.ravel()).tobytes()


def _png(path: Path, shape: tuple[int, ...], bits: int, color: int, rows: bytes) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        code = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + code

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, color, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_deep_colors(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (9, 13, 3)).astype(np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    _png(tmp_path / "a.png", values.shape, 16, 2, rows)
    image = open_image(tmp_path / "a.png")
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image.read(), np.moveaxis(values, -1, 0))


def test_palette(tmp_path: Path) -> None:
    indices = RNG.integers(0, 5, (9, 13)).astype(np.uint8)
    picture = Pillow.fromarray(indices).convert("P")
    picture.putpalette([c for i in range(256) for c in (i, 255 - i, 7)])
    picture.putdata(indices.ravel().tolist())
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(open_labels(tmp_path / "p.png").read()[0], indices)
    colors = open_image(tmp_path / "p.png").read()
    np.testing.assert_array_equal(colors[1], 255 - indices)
    assert colors.shape == (3, 9, 13)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 4), ("LA", 2), ("RGB", 3), ("L", 1)])
def test_color_modes(tmp_path: Path, mode: str, channels: int) -> None:
    shape = (9, 13, channels) if channels > 1 else (9, 13)
    values = RNG.integers(0, 255, shape).astype(np.uint8)
    Pillow.fromarray(values, mode=None).save(tmp_path / "m.png")
    image = open_image(tmp_path / "m.png")
    assert image.shape == (channels, 9, 13)
    assert image.whole
    np.testing.assert_array_equal(image[-1, 2:5], values.reshape(9, 13, -1)[2:5, :, -1])


def test_jpeg_under_another_name(tmp_path: Path) -> None:
    Pillow.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").read().mean() == pytest.approx(200, abs=3)


# NIfTI


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_keeps_its_affine(tmp_path: Path, suffix: str) -> None:
    affine = np.array([[0, -2, 0, 5], [0.5, 0, 0, -7], [0, 0, 3, 9], [0, 0, 0, 1.0]])
    array = RNG.integers(-500, 900, (7, 8, 9)).astype(np.int16)
    original = nibabel.Nifti1Image(array, affine)
    original.header.set_xyzt_units("mm")
    nibabel.save(original, tmp_path / f"a{suffix}")
    image = open_image(tmp_path / f"a{suffix}", ndim=3)
    canonical: Any = nibabel.as_closest_canonical(original)
    np.testing.assert_array_equal(image.read()[0], np.asarray(canonical.dataobj).T)
    assert image.spacing == (3.0, 0.5, 2.0)
    assert image.unit == "mm"
    assert image.whole == (suffix == ".nii.gz")
    labels = (image.read()[0] > 0).astype(np.uint8)
    save_image(tmp_path / f"out{suffix}", labels, like=image)
    written: Any = nibabel.load(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(written.affine, affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), array > 0)
    assert written.get_data_dtype() == np.uint8
    assert written.header["sform_code"] == original.header["sform_code"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_scaling_and_byte_order(tmp_path: Path, suffix: str) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.dtype(">i2"))
    array = RNG.integers(-500, 900, (4, 5, 6)).astype(">i2")
    image = nibabel.Nifti1Image(array, np.eye(4), header)
    image.header.set_slope_inter(0.5, 10)
    # The file's raw values are set here; nibabel would otherwise divide by the slope.
    path = tmp_path / "a.nii"
    content = bytearray(image.header.binaryblock)
    content += bytes(352 - len(content)) + array.tobytes(order="F")
    content[108:112] = np.array(352, ">f4").tobytes()
    path.write_bytes(content)
    if suffix == ".nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(content)))
    found = open_image(tmp_path / f"a{suffix}", ndim=3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.read()[0], array.T * 0.5 + 10)
    np.testing.assert_array_equal(found[0, 2:4, 1], array.T[2:4, 1] * 0.5 + 10)


def test_nifti_with_modalities(tmp_path: Path) -> None:
    array = RNG.normal(size=(4, 5, 6, 2)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match="Z or C"):
        open_image(tmp_path / "a.nii.gz", ndim=3)
    image = open_image(tmp_path / "a.nii.gz", ndim=3, axes="CZYX")
    np.testing.assert_array_equal(image.read(), array.T)


# Zarr and HDF5


def ome_zarr(path: Path, version: str, array: np.ndarray) -> None:
    form = 2 if version == "0.4" else 3
    group = zarr.create_group(store=path, zarr_format=form)
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"
    ]
    scales = [[1, 30, 4, 4], [1, 30, 8, 8]]
    datasets = [
        {"path": f"s{i}", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for i, scale in enumerate(scales)
    ]
    multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    options: dict[str, Any] = {} if version == "0.4" else {"shards": (1, 8, 64, 64)}
    for i in range(2):
        part = array[..., :: 1 + i, :: 1 + i]
        group.create_array(
            f"s{i}", shape=part.shape, dtype=part.dtype, chunks=(1, 4, 32, 32), **options
        )[...] = part


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    array = np.stack([VOLUME, VOLUME[::-1]])
    path = tmp_path / "a.ome.zarr"
    ome_zarr(path, version, array)
    image = open_image(path)
    assert image.axes == "CZYX"
    assert (image.spacing, image.unit) == ((30, 4, 4), "nm")
    np.testing.assert_array_equal(image.read(), array)
    box = Box((1, 20, 30), (8, 40, 90))
    np.testing.assert_array_equal(image.read(box), array[(slice(None), *box.slices)])
    coarse = open_image(path, level=1)
    assert coarse.spacing == (30, 8, 8)
    np.testing.assert_array_equal(coarse.read(), array[..., ::2, ::2])
    with pytest.raises(DataError, match="level=5"):
        open_image(path, level=5)
    inner = open_image(path / "s1", axes="CZYX")
    assert (inner.shape, inner.name) == (coarse.shape, "a")


def test_zarr_without_image_metadata(tmp_path: Path) -> None:
    group = zarr.create_group(store=tmp_path / "a.zarr", zarr_format=2)
    group.create_array("raw", data=VOLUME, chunks=(4, 32, 32))
    with pytest.raises(DataError, match="raw"):
        open_image(tmp_path / "a.zarr")
    assert open_image(tmp_path / "a.zarr" / "raw", ndim=3).shape == (1, *VOLUME.shape)
    named = zarr.create_array(
        store=tmp_path / "any_name", data=VOLUME, dimension_names=["z", "y", "x"]
    )
    assert named.shape == VOLUME.shape
    assert open_image(tmp_path / "any_name").axes == "CZYX"


def test_zarr_with_a_broken_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    save_image(path, VOLUME)
    chunk = next(file for file in path.rglob("*") if file.is_file() and file.name.isdigit())
    chunk.write_bytes(chunk.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.ome\.zarr"):
        open_image(path).read()


def test_zarr_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    save_image(path, VOLUME)
    save_image(path, VOLUME[:2])
    assert open_image(path, ndim=3).shape == (1, 2, 70, 90)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]
    with pytest.raises(DataError, match="inside"):
        save_image(path / "inner", VOLUME)


def test_hdf5_keys_and_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    save_image(f"{path}:raw", VOLUME, spacing=(3, 1, 1), unit="um")
    save_image(f"{path}:labels/cells", VOLUME > 9, axes="ZYX")
    assert open_image(f"{path}:raw").spacing == (3, 1, 1)
    np.testing.assert_array_equal(open_labels(f"{path}:labels/cells").read()[0], VOLUME > 9)
    tags = {"axes": [{"key": key} for key in "yxc"]}
    with h5py.File(path, "a") as file:
        file["ilastik"] = np.zeros((20, 30, 2), np.float32)
        file["ilastik"].attrs["axistags"] = json.dumps(tags)
        file["plain"] = VOLUME
        file["plain"].attrs["element_size_um"] = [2.0, 0.5, 0.5]
    assert open_image(f"{path}:ilastik").shape == (2, 20, 30)
    assert open_image(f"{path}:plain", ndim=3).spacing == (2, 0.5, 0.5)


# Lists and names


def test_lists(tmp_path: Path) -> None:
    for name in ("a10.tif", "a2.tif", "b.PNG", ".hidden.tif", "notes.txt"):
        (tmp_path / name).touch()
    save_image(tmp_path / "c.ome.zarr", VOLUME[0])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "d.tif").touch()
    names = [Path(file).name for file in list_files(tmp_path)]
    assert names == ["a2.tif", "a10.tif", "b.PNG", "c.ome.zarr"]
    assert [Path(f).name for f in list_files(tmp_path / "*.tif")] == ["a2.tif", "a10.tif"]
    assert len(list_files(str(tmp_path / "**" / "*.tif"))) == 3
    zarr_path = str(tmp_path / "c.ome.zarr")
    assert list_files([zarr_path, tmp_path / "b.PNG", zarr_path]) == [
        zarr_path,
        str(tmp_path / "b.PNG"),
    ]
    save_image(f"{tmp_path}/e.h5:k", VOLUME[0])
    assert list_files(f"{tmp_path}/e.h5:k") == [f"{tmp_path}/e.h5:k"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.tif", "b"),
        ("b.OME.TIF", "b"),
        ("b.nii.gz", "b"),
        ("x.y.png", "x.y"),
        ("s.ome.zarr/", "s"),
        ("s.zarr/labels/cells", "s"),
        ("v.h5:raw/x", "v"),
        ("v.hdf5", "v"),
        ("plain", "plain"),
        ("i_0000.nii.gz", "i_0000"),
    ],
)
def test_stem(path: str, name: str) -> None:
    assert stem(path) == name


# Threads and memory


@pytest.mark.parametrize("suffix", [".tif", ".nii.gz", ".h5", ".zarr", ".npy"])
def test_reads_from_many_threads(tmp_path: Path, suffix: str) -> None:
    save_image(tmp_path / f"a{suffix}", VOLUME)
    image = open_image(tmp_path / f"a{suffix}", ndim=3)

    def same(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        start = tuple(int(rng.integers(0, n)) for n in VOLUME.shape)
        box = Box(start, tuple(a + 9 for a in start)).clip(Box.of(VOLUME.shape))
        return np.array_equal(image.read(box)[0], VOLUME[box.slices])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, range(200)))


def test_open_files_stay_few(tmp_path: Path) -> None:
    images = []
    for i in range(150):
        np.save(tmp_path / f"{i}.npy", VOLUME[0])
        images.append(open_image(tmp_path / f"{i}.npy"))
        images[-1].read()
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) < 110
    np.testing.assert_array_equal(images[0].read()[0], VOLUME[0])


def test_shelves_stay_in_their_budget() -> None:
    ledger = recent.Ledger(1000)
    shelves = [recent.Shelf(ledger, lambda piece: piece.nbytes) for _ in range(3)]
    made = []

    def make(number: int) -> Any:
        def build() -> np.ndarray:
            made.append(number)
            return np.zeros(400, np.uint8)

        return build

    shelves[0].get("a", make(0))
    shelves[1].get("a", make(1))
    shelves[0].get("a", make(0))
    shelves[2].get("a", make(2))
    assert ledger.total <= 1000
    shelves[0].get("a", make(0))
    shelves[1].get("a", make(1))
    assert made == [0, 1, 2, 1]
    shelves.clear()
    gc.collect()
    lonely = recent.Shelf(ledger, lambda piece: piece.nbytes)
    assert lonely.get("big", lambda: np.zeros(5000, np.uint8)).nbytes == 5000
    assert lonely.get("big", lambda: np.zeros(1, np.uint8)).nbytes == 5000
    assert ledger.total == 5000


PACKERS: list[dict[str, Any]] = [
    {"zarr_format": 3, "compressors": None},
    {"zarr_format": 3, "compressors": [zarr.codecs.ZstdCodec(level=2, checksum=True)]},
    {"zarr_format": 3, "compressors": [zarr.codecs.GzipCodec()]},
    {"zarr_format": 3, "compressors": [zarr.codecs.BloscCodec()]},
    {"zarr_format": 3, "compressors": [zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]},
    {"zarr_format": 3, "shards": (8, 64, 64)},
    {"zarr_format": 2},
    {"zarr_format": 2, "order": "F"},
    {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    {"zarr_format": 2, "compressors": numcodecs.Blosc()},
    {"zarr_format": 2, "compressors": numcodecs.Zlib()},
    {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    {"zarr_format": 2, "filters": [numcodecs.Delta("u2")]},
]


@pytest.mark.parametrize("options", PACKERS, ids=range(len(PACKERS)))
@pytest.mark.parametrize("code", ["<u2", ">u2"])
def test_zarr_codecs(tmp_path: Path, options: dict[str, Any], code: str) -> None:
    array = zarr.create_array(
        store=tmp_path / "a.zarr",
        shape=VOLUME.shape,
        dtype=code,
        chunks=(4, 32, 32),
        fill_value=7,
        **options,
    )
    array[:6] = VOLUME[:6]
    expected = VOLUME.copy()
    expected[6:] = 7
    image = open_image(tmp_path / "a.zarr", ndim=3)
    np.testing.assert_array_equal(image.read()[0], expected)
    np.testing.assert_array_equal(image[0, 3:9, 31:70, 5], expected[3:9, 31:70, 5])
    # Chunks written later are seen, whatever was kept of the old ones.
    array[:] = VOLUME[::-1]
    np.testing.assert_array_equal(image.read()[0], VOLUME[::-1])
    chunks = [f for f in (tmp_path / "a.zarr").rglob("*") if f.is_file() and f.suffix != ".json"]
    for chunk in (chunk for chunk in chunks if not chunk.name.startswith(".")):
        chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a\.zarr"):
        image.read()


def test_zarr_chunk_larger_than_it_says(tmp_path: Path) -> None:
    array = zarr.create_array(
        store=tmp_path / "a.zarr", shape=(64, 64), dtype="u1", chunks=(64, 64)
    )
    array[:] = 1
    larger = zarr.create_array(
        store=tmp_path / "b.zarr", shape=(640, 640), dtype="u1", chunks=(640, 640)
    )
    larger[:] = 1
    (tmp_path / "a.zarr/c/0/0").write_bytes((tmp_path / "b.zarr/c/0/0").read_bytes())
    with pytest.raises(DataError, match="chunk c/0/0"):
        open_image(tmp_path / "a.zarr").read()
