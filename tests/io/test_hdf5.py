"""HDF5 as others write it: which data set, voxel size, packed chunks, and no other files."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from unmask.data.pairs import Layout, open_pairs
from unmask.errors import DataError
from unmask.io import list_files, open_image, open_labels, save_image, stem
from unmask.io.hdf5_sets import suggest
from unmask.space import Box

RNG = np.random.default_rng(5)
VOLUME = RNG.integers(0, 60_000, (12, 40, 50)).astype(np.uint16)


def make(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


def refused(source: object, *words: str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_image(str(source), **options).read()
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


# Which data set


def cremi(path: Path) -> Path:
    make(path, volumes__raw=VOLUME, volumes__labels__neuron_ids=VOLUME.astype(np.uint64))
    with h5py.File(path, "a") as file:
        for name in ("volumes/raw", "volumes/labels/neuron_ids"):
            file[name].attrs["resolution"] = (40.0, 4.0, 4.0)
        file["volumes/labels/neuron_ids"].attrs["offset"] = (80.0, 8.0, 0.0)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".hdf", ".HDF", ".nxs"])
def test_cremi(tmp_path: Path, suffix: str) -> None:
    path = cremi(tmp_path / f"sample_A{suffix}")
    image = open_image(f"{path}:volumes/raw", ndim=3)
    assert (image.spacing, image.unit, image.name) == ((40, 4, 4), "nm", "sample_A")
    assert open_image(f"{path}:volumes/raw").axes == "CZYX"
    np.testing.assert_array_equal(image.read()[0], VOLUME)
    labels = open_labels(f"{path}:volumes/labels/neuron_ids", ndim=3)
    assert labels.meta["origin"] == {"Z": 80, "Y": 8, "X": 0}
    assert stem(f"{path}:volumes/raw") == "sample_A"
    assert list_files(tmp_path) == [str(path)]
    message = refused(path, f"Write {path.name}:volumes/raw.", "volumes/labels/neuron_ids")
    assert "KEY" not in message
    with pytest.raises(DataError, match=r"Write sample_A\.\w+:volumes/labels/neuron_ids\."):
        open_labels(path)


def test_labels_that_start_elsewhere_do_not_pair(tmp_path: Path) -> None:
    path = cremi(tmp_path / "a.hdf")
    with h5py.File(path, "a") as file:
        file["volumes/raw"].attrs["offset"] = (0.0, 0.0, 0.0)
    images, labels = f"{path}:volumes/raw", f"{path}:volumes/labels/neuron_ids"
    with pytest.raises(DataError, match=r"found an offset that is up to 2\.0 voxels away"):
        open_pairs(images, labels, Layout(3))
    with h5py.File(path, "a") as file:
        file["volumes/labels/neuron_ids"].attrs["offset"] = (0.0, 0.0, 0.0)
    assert len(open_pairs(images, labels, Layout(3))) == 1


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["volumes/labels/ids", "volumes/raw"], False, "volumes/raw"),
        (["volumes/labels/ids", "volumes/raw"], True, "volumes/labels/ids"),
        (["raw", "label", "predictions"], False, "raw"),
        (["image", "raw"], False, None),
        (["a", "b"], False, None),
        (["data_1/labels", "b"], False, None),
        (["t00000/s00/0/cells", "t00000/s00/1/cells"], False, "t00000/s00/0/cells"),
        (["t00001/s01/1/cells", "t00001/s01/0/cells"], False, "t00001/s01/0/cells"),
        (["only"], False, "only"),
        ([], False, None),
    ],
)
def test_suggestions(names: list[str], labels: bool, expected: str | None) -> None:
    assert suggest(names, labels=labels) == expected


def test_no_guess_among_equals(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", one=VOLUME, two=VOLUME, table=np.zeros((3, 4)))
    message = refused(path, "one, two", "a.h5:KEY with one of them")
    assert "table" not in message


def test_tables_are_no_candidates_unless_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", s00__resolutions=np.ones((2, 3)), thing=VOLUME)
    assert open_image(path, ndim=3).shape == (1, *VOLUME.shape)
    path = make(tmp_path / "b.h5", small=np.ones((5, 6)), text=np.array([[b"a"], [b"b"]]))
    assert open_image(path).shape == (1, 5, 6)
    refused(make(tmp_path / "c.h5", line=np.ones(9)), "none", "an array of two axes or more")


def test_hdf4_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    refused(tmp_path / "a.hdf", "HDF4", "h4toh5")


# BigDataViewer

XML = """<?xml version="1.0"?><SpimData version="0.2"><SequenceDescription><ViewSetups>
<ViewSetup><id>0</id><voxelSize><unit>micrometer</unit><size>0.2 0.3 1.5</size></voxelSize>
</ViewSetup></ViewSetups></SequenceDescription></SpimData>"""


def bdv(path: Path, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file["s00/resolutions"] = np.array([[1.0, 1, 1], [2, 2, 1]])
        file["s00/subdivisions"] = np.array([[16, 16, 16]] * 2, np.int32)
        for level, array in enumerate((VOLUME, VOLUME[:, ::2, ::2])):
            name = f"t00000/s00/{level}/cells"
            file.create_dataset(name, data=np.ascontiguousarray(array).view(np.int16), **options)
    return path


@pytest.mark.parametrize("options", [{}, {"chunks": (8, 16, 16), "compression": "gzip"}], ids=str)
def test_bigdataviewer(tmp_path: Path, options: dict[str, Any]) -> None:
    path = bdv(tmp_path / "b.h5", **options)
    message = refused(path, "Write b.h5:t00000/s00/0/cells.")
    assert "resolutions" not in message
    image = open_image(f"{path}:t00000/s00/0/cells")
    assert (image.dtype, image.axes, image.spacing) == (np.uint16, "CZYX", None)
    np.testing.assert_array_equal(image.read()[0], VOLUME)
    box = Box((3, 10, 0), (9, 33, 50))
    np.testing.assert_array_equal(image.read(box)[0], VOLUME[box.slices])
    path.with_suffix(".xml").write_text(XML)
    assert open_image(f"{path}:t00000/s00/0/cells").spacing == (1.5, 0.3, 0.2)
    coarse = open_image(f"{path}:/t00000/s00/1/cells")
    assert (coarse.spacing, coarse.unit) == ((1.5, 0.6, 0.4), "um")
    np.testing.assert_array_equal(coarse.read()[0], VOLUME[:, ::2, ::2])
    path.with_suffix(".xml").write_text("<SpimData>")
    refused(f"{path}:t00000/s00/0/cells", "b.xml", "XML file of BigDataViewer")


def test_int16_elsewhere_stays_signed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", t00000__s00__0__cells=VOLUME.view(np.int16))
    image = open_image(path, ndim=3)
    assert image.dtype == np.int16
    assert image.read().min() < 0


# Voxel size and origin


@pytest.mark.parametrize(
    ("attributes", "spacing", "unit", "origin"),
    [
        ({"resolution": (40, 4, 4)}, (40, 4, 4), "nm", None),
        ({"resolution": (5, 2, 2), "offset": (10, 0, 4)}, (5, 2, 2), "nm", (10, 0, 4)),
        ({"resolution": (5, 2, 2), "units": ["um"] * 3}, (5, 2, 2), "um", None),
        ({"resolution": (5, 2, 2), "units": ["um", "nm", "nm"]}, None, None, None),
        ({"resolution": (1, 1, 1)}, None, None, None),
        ({"resolution": (1, 1, 1), "unit": "nm"}, (1, 1, 1), "nm", None),
        ({"resolution": 300}, None, None, None),
        ({"resolution": "fine"}, None, None, None),
        ({"resolution": (4, -4, 4)}, None, None, None),
        ({"resolution": (4, np.nan, 4)}, None, None, None),
        ({"voxel_size": (8, 4, 4), "units": "nm"}, (8, 4, 4), "nm", None),
        ({"pixelResolution": (4, 5, 40), "unit": "nm"}, (40, 5, 4), "nm", None),
        ({"element_size_um": (0.04, 0.01, 0.02)}, (0.04, 0.01, 0.02), "um", None),
    ],
    ids=str,
)
def test_attributes(
    tmp_path: Path,
    attributes: dict[str, Any],
    spacing: Any,
    unit: str | None,
    origin: Any,
) -> None:
    path = make(tmp_path / "a.h5", raw=VOLUME)
    with h5py.File(path, "a") as file:
        file["raw"].attrs.update(attributes)
    image = open_image(path, ndim=3)
    assert (image.spacing, image.unit) == (spacing, unit)
    found = image.meta.get("origin")
    assert (None if found is None else tuple(found[a] for a in "ZYX")) == origin
    out = tmp_path / "labels.h5"
    save_image(out, VOLUME, like=image)
    again = open_image(out, ndim=3)
    assert (again.spacing, again.unit) == (spacing, unit)
    assert again.meta.get("origin") == found


# Packed chunks

FILTERS: list[dict[str, Any]] = [
    {"compression": "gzip"},
    {"compression": "gzip", "shuffle": True, "fletcher32": True},
    {"compression": "lzf", "shuffle": True},
    {"compression": "lzf", "fletcher32": True},
    {"compression": "szip"},
    {"scaleoffset": 0},
    {"shuffle": True},
    {"fletcher32": True},
]


@pytest.mark.parametrize("options", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", "?"])
def test_filters_read_as_the_library_reads_them(
    tmp_path: Path, options: dict[str, Any], dtype: str
) -> None:
    if dtype in ("<f4", "?") and "scaleoffset" in options:
        pytest.skip("the filter loses digits of these")
    values = (VOLUME > 999) if dtype == "?" else VOLUME.astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset(
            "a", VOLUME.shape, dtype, chunks=(5, 16, 50), fillvalue=1, **options
        )
        dataset[:10] = values[:10]
        expected = dataset[...]
    image = open_image(tmp_path / "a.h5", ndim=3)
    np.testing.assert_array_equal(image.read()[0], expected)
    box = Box((8, 3, 7), (12, 40, 9))
    np.testing.assert_array_equal(image.read(box)[0], expected[box.slices])


def packed_file(path: Path, chunk: bytes, mask: int = 0, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("a", (64, 64), "u1", chunks=(32, 64), **options)
        dataset.id.write_direct_chunk((32, 0), chunk, mask)
    return path


@pytest.mark.parametrize("where", ["direct", "virtual"])
@pytest.mark.parametrize(
    "chunk",
    [
        zlib.compress(bytes(32 * 64 + 1)),
        zlib.compress(bytes(2**26)),
        zlib.compress(bytes(32 * 64 - 1)),
        zlib.compress(bytes(32 * 64))[:-3],
        zlib.compress(RNG.bytes(2**20)),
        b"no stream",
    ],
    ids=["one more", "64 MiB", "one less", "truncated", "1 MiB packed", "noise"],
)
def test_a_chunk_cannot_grow(tmp_path: Path, chunk: bytes, where: str) -> None:
    path = packed_file(tmp_path / "a.h5", chunk, compression="gzip")
    if where == "direct":
        refused(path, "damaged one", "(32, 0) of /a")
    elif len(chunk) > 10_000:
        with h5py.File(path, "a") as file:
            layout = h5py.VirtualLayout((64, 64), "u1")
            layout[...] = h5py.VirtualSource(".", "a", (64, 64))
            file.create_virtual_dataset("v", layout)
        refused(f"{path}:v", "damaged one")


def test_skipped_filters_and_unknown_ones(tmp_path: Path) -> None:
    plain = RNG.bytes(32 * 64)
    image = open_image(packed_file(tmp_path / "a.h5", plain, mask=1, compression="gzip"))
    assert image.read()[0, 32:].tobytes() == plain
    with h5py.File(tmp_path / "b.h5", "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((8, 8))
        plist.set_filter(32_123, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((16, 16))
        h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_UINT8, space, plist)
    refused(tmp_path / "b.h5", "32123", "h5repack")


# Other files


def secret(folder: Path) -> Path:
    path = folder / "secret.bin"
    path.write_bytes(bytes(range(256)) * 4)
    return path


def external_storage(path: Path) -> str:
    with h5py.File(path, "w") as file:
        name = str(secret(path.parent))
        file.create_dataset("a", (32, 32), "u1", external=[(name, 0, 1024)])
    return "secret.bin"


def external_link(path: Path) -> str:
    make(path.with_name("other.h5"), group__raw=VOLUME[0])
    with h5py.File(path, "w") as file:
        file["a"] = h5py.ExternalLink("other.h5", "/group/raw")
    return "other.h5"


def external_group(path: Path) -> str:
    make(path.with_name("other.h5"), raw=VOLUME[0])
    with h5py.File(path, "w") as file:
        file["there"] = h5py.ExternalLink("other.h5", "/")
        file["b/c"] = h5py.SoftLink("/there")
        file["a"] = h5py.SoftLink("b/c/raw")
    return "other.h5"


def virtual(path: Path) -> str:
    make(path.with_name("other.h5"), raw=VOLUME[0])
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout(VOLUME[0].shape, VOLUME.dtype)
        layout[...] = h5py.VirtualSource("other.h5", "raw", VOLUME[0].shape)
        file.create_virtual_dataset("a", layout)
    return "other.h5"


def virtual_of_external(path: Path) -> str:
    """A virtual data set of the same file, whose source keeps its values elsewhere."""
    with h5py.File(path, "w") as file:
        name = str(secret(path.parent))
        file.create_dataset("deep/x", (32, 32), "u1", external=[(name, 0, 1024)])
        for target, source in (("m", "deep/x"), ("a", "m")):
            layout = h5py.VirtualLayout((32, 32), "u1")
            layout[...] = h5py.VirtualSource(".", source, (32, 32))
            file.create_virtual_dataset(target, layout)
    return "secret.bin"


@pytest.mark.parametrize(
    "kind", [external_storage, external_link, external_group, virtual, virtual_of_external]
)
def test_other_files_are_read_only_if_allowed(tmp_path: Path, kind: Any) -> None:
    other = kind(tmp_path / "a.h5")
    refused(f"{tmp_path / 'a.h5'}:a", "a.h5:a", other, "allow_external")
    with pytest.raises(DataError, match="allow_external"):
        open_labels(f"{tmp_path / 'a.h5'}:a")
    allowed = open_image(f"{tmp_path / 'a.h5'}:a", allow_external=True)
    assert allowed.read().any()
    with pytest.raises(DataError, match="allow_external"):
        open_pairs(f"{tmp_path / 'a.h5'}:a", None, Layout(allowed.ndim))
    rules = Layout(allowed.ndim, allow_external=True)
    assert open_pairs(f"{tmp_path / 'a.h5'}:a", None, rules)[0].image.read().any()


def test_links_inside_the_file_are_followed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.h5", deep__raw=VOLUME)
    with h5py.File(path, "a") as file:
        file["x/short"] = h5py.SoftLink("/deep/raw")
        file["y"] = h5py.SoftLink("x")
        file["hard"] = file["deep/raw"]
        file["round"] = h5py.SoftLink("/round")
        file["v"] = h5py.SoftLink("/nowhere")
        layout = h5py.VirtualLayout(VOLUME.shape, VOLUME.dtype)
        layout[...] = h5py.VirtualSource(".", "y/short", VOLUME.shape)
        file.create_virtual_dataset("virtual", layout)
    for key in ("x/short", "y/short", "hard", "deep/raw", "./deep//raw", "virtual"):
        np.testing.assert_array_equal(open_image(f"{path}:{key}", ndim=3).read()[0], VOLUME)
    for key in ("round", "v", "deep/raw/more", "deep"):
        refused(f"{path}:{key}", f"the data set {key!r}")
