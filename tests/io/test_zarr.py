"""Zarr stores as others write them: codecs, shards, metadata, and nothing outside of the store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from numcodecs.abc import Codec
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

from unmask.errors import DataError
from unmask.io import open_image, open_labels, save_image
from unmask.space import Box

RNG = np.random.default_rng(6)
VOLUME = RNG.integers(0, 60_000, (13, 40, 50)).astype(np.uint16)
BOX = Box((3, 10, 0), (13, 33, 49))


def refused(source: object, *words: str) -> str:
    with pytest.raises(DataError) as caught:
        open_image(str(source), ndim=3).read()
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


def same(path: Path, expected: np.ndarray) -> None:
    image = open_image(path, ndim=3)
    np.testing.assert_array_equal(image.read()[0], expected)
    np.testing.assert_array_equal(image.read(BOX)[0], expected[BOX.slices])


# Codecs


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": None},
        {"compressors": numcodecs.Zlib(1)},
        {"compressors": numcodecs.GZip(1)},
        {"compressors": numcodecs.Blosc("lz4"), "order": "F"},
        {"compressors": numcodecs.LZ4()},
        {"compressors": numcodecs.BZ2(1)},
        {"compressors": numcodecs.LZMA(preset=0)},
        {"compressors": numcodecs.Zstd(1), "filters": [numcodecs.Delta("<u2")]},
        {"compressors": None, "filters": [numcodecs.Shuffle(2), numcodecs.CRC32()]},
        {"compressors": numcodecs.Zstd(1), "filters": [numcodecs.AsType("<u4", "<u2")]},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_version_2_is_read_as_zarr_reads_it(
    tmp_path: Path, options: dict[str, Any], dtype: str
) -> None:
    if dtype == ">u2" and "filters" in options:
        pytest.skip("the filters are those of <u2")
    array: Any = zarr.create_array(
        tmp_path / "a.zarr", shape=VOLUME.shape, chunks=(5, 16, 50), dtype=dtype, fill_value=3,
        zarr_format=2, **options,
    )  # fmt: skip
    array[:10] = VOLUME[:10]
    same(tmp_path / "a.zarr", array[...])


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": None},
        {"serializer": BytesCodec(endian="big")},
        {"compressors": [ZstdCodec(), ZstdCodec()]},
        {"compressors": [GzipCodec(), Crc32cCodec()]},
        {"compressors": [BloscCodec(typesize=2)], "filters": [TransposeCodec(order=(1, 2, 0))]},
        {"filters": [TransposeCodec(order=(1, 2, 0)), TransposeCodec(order=(0, 2, 1))]},
    ],
    ids=str,
)
@pytest.mark.parametrize("shards", [None, (10, 32, 50)])
def test_version_3_is_read_as_zarr_reads_it(
    tmp_path: Path, options: dict[str, Any], shards: Any
) -> None:
    array: Any = zarr.create_array(
        tmp_path / "a.zarr", shape=VOLUME.shape, chunks=(5, 16, 50), shards=shards, dtype="u2",
        fill_value=7, **options,
    )  # fmt: skip
    array[:5] = VOLUME[:5]
    same(tmp_path / "a.zarr", array[...])


def test_index_of_a_shard_at_its_start(tmp_path: Path) -> None:
    sharding = ShardingCodec(chunk_shape=(5, 16, 50), index_location="start")
    array: Any = zarr.create_array(
        tmp_path / "a.zarr", shape=VOLUME.shape, chunks=(10, 32, 50), dtype="u2", fill_value=0,
        serializer=sharding, compressors=None,
    )  # fmt: skip
    array[...] = VOLUME
    same(tmp_path / "a.zarr", VOLUME)


class Evil(Codec):
    """Stands for a codec of another package."""

    codec_id = "evil"

    def encode(self, buf: Any) -> Any:
        return buf

    def decode(self, buf: Any, out: Any = None) -> Any:
        raise AssertionError("was run")


def version_2(path: Path, chunk: bytes = b"", **changes: Any) -> Path:
    path.mkdir()
    tree = {
        "zarr_format": 2, "shape": [8, 64, 64], "chunks": [4, 64, 64], "dtype": "|u1",
        "compressor": None, "fill_value": 0, "filters": None, "order": "C",
    }  # fmt: skip
    (path / ".zarray").write_text(json.dumps(tree | changes))
    (path / "1.0.0").write_bytes(chunk)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"filters": [{"id": "vlen-utf8"}]},
        {"compressor": {"id": "evil"}},
        {"compressor": {"id": "none such"}},
        {"filters": [{"id": "json2"}], "compressor": {"id": "zlib", "level": 1}},
    ],
    ids=str,
)
def test_codecs_that_are_not_listed_are_not_run(tmp_path: Path, changes: Any) -> None:
    numcodecs.register_codec(Evil)
    refused(version_2(tmp_path / "a.zarr", b"cos\nsystem\n(S'false'\ntR.", **changes), "a.zarr")


PLAIN = bytes(4 * 64 * 64)


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        ({"id": "zlib"}, lambda: numcodecs.Zlib(9).encode(bytes(2**26))),
        ({"id": "gzip"}, lambda: numcodecs.GZip(9).encode(bytes(2**26))),
        ({"id": "zstd"}, lambda: numcodecs.Zstd(1).encode(bytes(2**26))),
        ({"id": "blosc"}, lambda: numcodecs.Blosc("zstd").encode(bytes(2**26))),
        ({"id": "lz4"}, lambda: numcodecs.LZ4().encode(bytes(2**26))),
        ({"id": "bz2"}, lambda: numcodecs.BZ2(1).encode(bytes(2**24))),
        ({"id": "lzma"}, lambda: numcodecs.LZMA(preset=0).encode(bytes(2**24))),
        ({"id": "zstd"}, lambda: numcodecs.Zstd(1).encode(PLAIN + b"1")),
        ({"id": "zstd"}, lambda: numcodecs.Zstd(1).encode(PLAIN[1:])),
        ({"id": "zlib"}, lambda: numcodecs.Zlib(1).encode(PLAIN)[:-2]),
        ({"id": "blosc"}, lambda: bytes(numcodecs.Blosc().encode(PLAIN))[:30]),
        ({"id": "blosc"}, lambda: b"short"),
        (None, lambda: PLAIN + b"1"),
        (None, lambda: bytes(2**20)),
    ],
    # Packing takes time and may depend on the clock, so it is left to the test.
    ids=lambda value: "" if callable(value) else str(value),
)
def test_a_chunk_cannot_grow(tmp_path: Path, codec: Any, data: Callable[[], bytes]) -> None:
    refused(version_2(tmp_path / "a.zarr", bytes(data()), compressor=codec), "a.zarr", "1.0.0")


def test_filters_cannot_grow_without_a_bound(tmp_path: Path) -> None:
    data = bytes(numcodecs.Zlib(9).encode(bytes(2**26)))
    changes = {"compressor": {"id": "zlib", "level": 1}, "filters": [{"id": "packbits"}]}
    refused(version_2(tmp_path / "a.zarr", data, **changes), "1.0.0")


def test_shards_that_lie(tmp_path: Path) -> None:
    options: dict[str, Any] = {"shards": (4, 8, 8), "chunks": (2, 4, 4), "compressors": None}
    array: Any = zarr.create_array(tmp_path / "a.zarr", shape=(4, 8, 8), dtype="u1", **options)
    array[...] = 1
    file = tmp_path / "a.zarr" / "c" / "0" / "0" / "0"
    good = file.read_bytes()
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    refused(tmp_path / "a.zarr", "shard c/0/0/0", "checksum")
    file.write_bytes(good[:40])
    refused(tmp_path / "a.zarr", "shard c/0/0/0", "fewer than its index")
    meta = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    meta["shape"] = meta["chunk_grid"]["configuration"]["chunk_shape"] = [4, 8 * 10**6, 8 * 10**6]
    (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(meta))
    file.write_bytes(good)
    with pytest.raises(DataError, match="fewer than its index"):
        open_image(tmp_path / "a.zarr", ndim=3).read(Box((0, 0, 0), (1, 1, 1)))


# Other files


def secret(folder: Path) -> Path:
    (folder / "secret").mkdir()
    save_image(folder / "secret" / "b.zarr", VOLUME)
    (folder / "secret" / "c").write_bytes(PLAIN)
    return folder / "secret"


def group(path: Path, inner: str, **entries: Any) -> Path:
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    scale = {"type": "scale", "scale": [1, 1, 1]}
    tree = {
        "version": "0.4",
        "axes": [{"name": a, "type": "space"} for a in "zyx"],
        "datasets": [{"path": inner, "coordinateTransformations": [scale]}],
    }
    (path / ".zattrs").write_text(json.dumps({"multiscales": [tree | entries]}))
    return path


@pytest.mark.parametrize("kind", ["dots", "absolute", "array", "chunk", "chunk folder", "metadata"])
def test_other_files_are_read_only_if_allowed(tmp_path: Path, kind: str) -> None:
    place, path = secret(tmp_path), tmp_path / "a.zarr"
    if kind in ("dots", "absolute"):
        group(path, "../secret/b.zarr/0" if kind == "dots" else str(place / "b.zarr" / "0"))
    elif kind == "array":
        group(path, "0")
        (path / "0").symlink_to(place / "b.zarr" / "0")
    elif kind == "chunk":
        (version_2(path) / "1.0.0").unlink()
        (path / "1.0.0").symlink_to(place / "c")
    else:
        save_image(path, np.ones((8, 64, 64), np.uint8))
        inside = path / "0" / ("c" if kind == "chunk folder" else "zarr.json")
        inside.rename(place / "moved")
        inside.symlink_to(place / "moved")
    refused(path, "a.zarr", "secret", "outside of the store", "allow_external")
    with pytest.raises(DataError, match="allow_external"):
        open_labels(path, ndim=3).read()
    assert open_image(path, ndim=3, allow_external=True).read().shape[1:]


def test_a_linked_store_and_links_inside_are_read(tmp_path: Path) -> None:
    save_image(tmp_path / "disk" / "b.zarr", VOLUME)
    (tmp_path / "a.zarr").symlink_to(tmp_path / "disk" / "b.zarr")
    (tmp_path / "disk" / "b.zarr" / "1").symlink_to("0")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read()[0], VOLUME)
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr" / "1").read()[0], VOLUME)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = version_2(tmp_path / "a.zarr")
    (path / "1.0.0").unlink()
    os.mkfifo(path / "1.0.0")
    refused(path, "1.0.0 is not a file")


# Metadata


def ome(path: Path, entries: Any, axes: str = "zyx") -> Path:
    root = zarr.open_group(path, mode="w", zarr_format=2)
    array: Any = root.create_array("0", shape=VOLUME.shape, dtype="u2", chunks=VOLUME.shape)
    array[...] = VOLUME
    tree = {
        "version": "0.4",
        "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in axes],
        "datasets": [{"path": "0"}],
    }
    root.attrs.update({"multiscales": [tree | entries.pop("image", {})], **entries})
    return path


def steps(*each: Any) -> list[dict[str, Any]]:
    return [{"type": kind, kind: list(numbers)} for kind, numbers in each]


def test_scale_and_translation_of_level_and_image(tmp_path: Path) -> None:
    level = steps(("scale", (2, 0.5, 0.5)), ("translation", (10, 1, 0)))
    image = {
        "datasets": [{"path": "0", "coordinateTransformations": level}],
        "coordinateTransformations": steps(("scale", (3, 2, 1))),
    }
    opened = open_image(ome(tmp_path / "a.zarr", {"image": image}))
    assert (opened.spacing, opened.unit) == ((6, 1, 0.5), "um")
    assert opened.meta["origin"] == {"Z": 30, "Y": 2, "X": 0}


def test_units_of_axes_are_brought_together(tmp_path: Path) -> None:
    axes = [
        {"name": a, "unit": u}
        for a, u in zip("zyx", ("micrometer", "nanometer", "nanometer"), strict=True)
    ]
    level = [{"path": "0", "coordinateTransformations": steps(("scale", (0.04, 4, 4)))}]
    opened = open_image(ome(tmp_path / "a.zarr", {"image": {"axes": axes, "datasets": level}}))
    assert opened.spacing == pytest.approx((40, 4, 4))
    assert opened.unit == "nm"


def test_names_of_channels(tmp_path: Path) -> None:
    def opened(omero: Any) -> Any:
        return open_image(ome(tmp_path / "a.zarr", {"omero": omero})).meta.get("channels")

    assert opened({"channels": [{"label": "DAPI"}]}) == ("DAPI",)
    # More names than channels name nothing.
    assert opened({"channels": [{"label": "DAPI"}, {"label": "actin"}]}) is None
    assert opened({"channels": [{"label": 3}]}) is None
    assert opened({"channels": [{}]}) is None
    assert opened([]) is None


def test_first_versions_have_five_axes(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    array: Any = root.create_array(
        "0", shape=(1, 1, *VOLUME.shape), dtype="u2", chunks=(1, 1, 9, 40, 50)
    )
    array[0, 0] = VOLUME
    root.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    assert open_image(tmp_path / "a.zarr").shape == (1, *VOLUME.shape)


@pytest.mark.parametrize(
    ("attributes", "spacing", "unit"),
    [
        ({"resolution": [40, 4, 4], "offset": [0, 8, 8]}, (40, 4, 4), "nm"),
        ({"voxel_size": [5, 2, 2], "units": ["um", "um", "um"]}, (5, 2, 2), "um"),
        ({"pixelResolution": {"dimensions": [4, 5, 40], "unit": "nm"}}, (40, 5, 4), "nm"),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": [5, 2, 2], "units": ["nm"] * 3}},
            (5, 2, 2),
            "nm",
        ),
        ({"transform": {"axes": ["z"], "scale": [5, 2, 2]}}, None, None),
        ({"resolution": {"a": 1}}, None, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("version", [2, 3])
def test_voxel_size_of_plain_arrays(
    tmp_path: Path, attributes: Any, spacing: Any, unit: Any, version: Any
) -> None:
    array: Any = zarr.create_array(
        tmp_path / "a.zarr", shape=VOLUME.shape, dtype="u2", zarr_format=version
    )
    array.attrs.update(attributes)
    image = open_image(tmp_path / "a.zarr", ndim=3)
    assert (image.spacing, image.unit) == (spacing, unit)
    if "offset" in attributes:
        assert image.meta["origin"] == {"Z": 0, "Y": 8, "X": 8}


def test_axes_of_plain_arrays(tmp_path: Path) -> None:
    for name in ("axis_names", "_ARRAY_DIMENSIONS"):
        array: Any = zarr.create_array(
            tmp_path / f"{name}.zarr", shape=(2, 30, 40), dtype="u2", zarr_format=2
        )
        array.attrs[name] = ["c", "y", "x"]
        assert open_image(tmp_path / f"{name}.zarr").axes == "CYX"


@pytest.mark.parametrize(
    ("entries", "word"),
    [
        ({"multiscales": []}, "empty list"),
        ({"multiscales": "x"}, "multiscales that is a str"),
        ({"multiscales": [3]}, "multiscales[0] with a int"),
        ({"multiscales": {"a": 1}}, "multiscales that is a dict"),
        ({"image": {"datasets": []}}, "datasets with the paths []"),
        ({"image": {"datasets": [{"path": 3}]}}, "datasets with the paths [3]"),
        ({"image": {"datasets": 7}}, "datasets that is a int"),
        ({"image": {"datasets": [{"path": "9"}]}}, "an array at"),
        ({"image": {"datasets": [{"path": "../9"}]}}, "outside of the store"),
        ({"image": {"datasets": [{"path": "."}]}}, "a group"),
        ({"image": {"axes": 3}}, "axes that is a int"),
        ({"image": {"axes": [3, 4, 5]}}, "axes with a int"),
        ({"image": {"axes": [{"name": "y"}, {"name": "x"}]}}, "2 axes YX, found one of 3 axes"),
        ({"image": {"coordinateTransformations": steps(("scale", (1, 2)))}}, "scale of 2 numbers"),
        ({"image": {"coordinateTransformations": [{"type": "scale", "scale": "x"}]}}, "a scale of"),
        ({"image": {"coordinateTransformations": "x"}}, "coordinateTransformations that is a str"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_damaged_metadata_are_named(tmp_path: Path, entries: Any, word: str) -> None:
    refused(ome(tmp_path / "a.zarr", entries), "a.zarr", word)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\xff", "{" * 10, "null"])
def test_metadata_that_are_not_metadata(tmp_path: Path, text: str) -> None:
    path = ome(tmp_path / "a.zarr", {})
    (path / ".zattrs").write_bytes(text.encode("latin-1"))
    refused(path, "a.zarr")
    path = version_2(tmp_path / "b.zarr")
    (path / ".zarray").write_bytes(text.encode("latin-1"))
    refused(path, "b.zarr")


def test_a_shape_that_became_smaller_is_noticed(tmp_path: Path) -> None:
    save_image(tmp_path / "a.zarr", np.ones((20, 130, 200), np.uint8))
    file = tmp_path / "a.zarr" / "0" / "zarr.json"
    good = file.read_text()
    for shape in ([20, 64, 200], [20, 130, 128]):
        tree = json.loads(good)
        tree["shape"] = shape
        file.write_text(json.dumps(tree))
        refused(tmp_path / "a.zarr", "no chunks beyond the shape")
    file.write_text(good)
    assert open_image(tmp_path / "a.zarr").read().all()
