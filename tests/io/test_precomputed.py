"""Precomputed volumes: what a reader of the format puts together is the image."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.io import Image, open_image, precomputed_shards
from unmask.io.contract import Location
from unmask.io.precomputed import write_precomputed
from unmask.memory import track_growth


def assembled(folder, number=0):
    """A scale as the format defines it: chunks of [x, y, z, channel] in Fortran order."""
    info = json.loads((folder / "info").read_text())
    scale = info["scales"][number]
    size, chunk = scale["size"], scale["chunk_sizes"][0]
    whole = np.zeros((*size, info["num_channels"]), info["data_type"])
    for start in product(*(range(0, n, c) for n, c in zip(size, chunk, strict=True))):
        stop = [min(a + c, n) for a, c, n in zip(start, chunk, size, strict=True)]
        name = "_".join(f"{a}-{b}" for a, b in zip(start, stop, strict=True))
        shape = [b - a for a, b in zip(start, stop, strict=True)]
        raw = np.frombuffer((folder / scale["key"] / name).read_bytes(), info["data_type"])
        place = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        whole[place] = raw.reshape((*shape, info["num_channels"]), order="F")
    return info, whole.transpose(3, 2, 1, 0)


@pytest.mark.parametrize("shape", [(5, 70, 130), (90, 65)])
def test_labels_are_put_together_again(tmp_path, shape):
    labels = np.random.default_rng(0).integers(0, 70_000, shape, np.uint32)
    axes, spacing = "ZYX"[-len(shape) :], (2.0, 0.5, 0.25)[-len(shape) :]
    image = Image.from_array(labels, axes=axes, spacing=spacing)
    info, whole = assembled(write_precomputed(image, tmp_path / "a", labels=True))
    np.testing.assert_array_equal(whole.reshape(shape), labels)
    assert (info["type"], info["data_type"]) == ("segmentation", "uint32")


def test_coarser_levels_and_nanometers(tmp_path):
    labels = np.arange(300 * 4 * 40, dtype=np.uint32).reshape(300, 4, 40)
    image = replace(Image.from_array(labels, axes="ZYX", spacing=(1.0, 2.0, 3.0)), unit="um")
    folder = write_precomputed(image, tmp_path / "a", labels=True)
    info, fine = assembled(folder)
    assert info["scales"][0]["resolution"] == pytest.approx([3000, 2000, 1000])
    assert len(info["scales"]) == 2
    _, coarse = assembled(folder, 1)
    np.testing.assert_array_equal(coarse[0], fine[0, ::2])
    assert info["scales"][1]["resolution"] == pytest.approx([3000, 2000, 2000])


def test_channels_of_an_image(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (3, 20, 30), np.uint8)
    image = Image.from_array(array, axes="CYX")
    info, whole = assembled(write_precomputed(image, tmp_path / "a", labels=False))
    np.testing.assert_array_equal(whole[:, 0], array)
    assert (info["type"], info["num_channels"]) == ("image", 3)


def test_types_that_the_format_lacks(tmp_path):
    floats = Image.from_array(np.zeros((4, 4), np.float64), axes="YX")
    info, _ = assembled(write_precomputed(floats, tmp_path / "a", labels=False))
    assert info["data_type"] == "float32"
    with pytest.raises(DataError, match="uint64"):
        write_precomputed(Image.from_array(np.zeros((4, 4), np.float32), axes="YX"),
                          tmp_path / "b", labels=True)  # fmt: skip
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("shape", [(5, 70, 130), (90, 65)])
def test_a_chunk_of_gigantic_size_is_refused_before_it_is_read(tmp_path, shape):
    pytest.importorskip("tensorstore")
    labels = np.random.default_rng(0).integers(0, 200, shape).astype(np.uint8)
    ndim = len(shape)
    image = Image.from_array(labels, ndim=ndim, spacing=(2.0, 1.0, 1.0)[-ndim:])
    folder = write_precomputed(image, tmp_path / "a.precomputed", labels=True)
    np.testing.assert_array_equal(open_image(folder, ndim=ndim).read()[0], labels)
    key = json.loads((folder / "info").read_text())["scales"][0]["key"]
    last = max((folder / key).iterdir())
    with last.open("wb") as file:
        file.truncate(2**33)
    opened = open_image(folder, ndim=ndim)
    with pytest.raises(DataError, match=rf"chunks of at most .* found {last.name} of 8589934592"):
        opened.read()
    # Chunks that are not read do not matter.
    assert opened[(slice(0, 1),) * (ndim + 1)].shape == (1,) * (ndim + 1)


SIZE, CHUNK = (70, 50, 20), (32, 32, 16)


def write_shards(folder, **options):
    """A volume as tensorstore writes it, and its values ``(z, y, x)``."""
    tensorstore = pytest.importorskip("tensorstore")
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 0,
        "minishard_bits": 1, "shard_bits": 1, "minishard_index_encoding": "gzip",
        "data_encoding": "gzip",
    } | options  # fmt: skip
    scale = {
        "key": "k", "size": SIZE, "resolution": (4, 4, 40), "chunk_size": CHUNK,
        "encoding": "raw", "sharding": sharding,
    }  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(folder)},
        "multiscale_metadata": {"data_type": "uint8", "num_channels": 1, "type": "image"},
        "scale_metadata": scale,
    }
    values = np.random.default_rng(0).integers(0, 200, SIZE).astype(np.uint8)
    tensorstore.open(spec, create=True).result()[..., 0].write(values).result()
    return sharding, values.T


def walk_shards(folder, bits):
    """Every chunk of every shard, read front to back: file, number, first byte, count."""
    for file in sorted((folder / "k").iterdir()):
        data, base = file.read_bytes(), 16 << bits
        for part in range(1 << bits):
            start, stop = struct.unpack_from("<QQ", data, 16 * part)
            if start < stop:
                index = data[base + start : base + stop]
                index = gzip.decompress(index) if index[:2] == b"\x1f\x8b" else index
                numbers, gaps, counts = np.frombuffer(index, "<u8").reshape(3, -1).tolist()
                place = number = 0
                for step, gap, count in zip(numbers, gaps, counts, strict=True):
                    number, place = number + step, place + gap
                    yield file, number, base + place, count
                    place += count


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"hash": "murmurhash3_x86_128", "preshift_bits": 1, "minishard_bits": 2},
        {"data_encoding": "raw", "minishard_index_encoding": "raw", "shard_bits": 0},
    ],
)
def test_chunks_are_found_in_their_shards(tmp_path, options, monkeypatch):
    folder = tmp_path / "a.precomputed"
    sharding, values = write_shards(folder, **options)
    np.testing.assert_array_equal(open_image(folder, ndim=3).read()[0], values)
    grid = tuple(-(-n // edge) for n, edge in zip(SIZE, CHUNK, strict=True))
    looked = []
    monkeypatch.setattr(precomputed_shards, "_RATIO", 10**9)
    location = Location(str(folder), folder)
    shards = replace(
        precomputed_shards.shards_of(location, folder / "k", grid, 10**6, sharding),
        check_once=lambda *place: looked.append((place[0], *place[2:])),
    )
    for cell in np.ndindex(*grid):
        shards.check(cell)
    stored = list(walk_shards(folder, sharding["minishard_bits"]))
    assert len(stored) == np.prod(grid)
    if sharding["data_encoding"] == "gzip":
        assert sorted(looked) == sorted((file.name, *place) for file, _, *place in stored)


def grow_chunk(folder, packed):
    """Put a chunk behind a shard, in the place of the last that the first index names."""
    file = min((folder / "k").iterdir())
    data, base = bytearray(file.read_bytes() + packed), 32
    start, stop = (base + place for place in struct.unpack_from("<QQ", data))
    index = np.frombuffer(data[start:stop], "<u8").reshape(3, -1).copy()
    old = index[1].sum() + index[2, :-1].sum()
    index[1, -1] += len(data) - len(packed) - base - old
    index[2, -1] = len(packed)
    data[start:stop] = index.tobytes()
    file.write_bytes(data)


def test_a_packed_chunk_of_gigantic_size_is_refused_before_it_is_unpacked(tmp_path):
    folder = tmp_path / "a.precomputed"
    write_shards(folder, minishard_index_encoding="raw")
    packer = zlib.compressobj(9, wbits=31)
    # 64 MiB in 65 kB, fewer than a chunk that packs badly has.
    packed = b"".join(packer.compress(bytes(2**22)) for _ in range(16)) + packer.flush()
    grow_chunk(folder, packed)
    image, grown = open_image(folder, ndim=3), track_growth()
    with pytest.raises(DataError, match=r"a\.precomputed: .* bytes that unpack to more than"):
        image.read()
    assert grown() < 2**25


def test_a_packed_index_of_gigantic_size_is_refused_before_it_is_unpacked(tmp_path):
    folder = tmp_path / "a.precomputed"
    sharding, _ = write_shards(folder)
    packed, base = gzip.compress(bytes(2**26)), 16 << sharding["minishard_bits"]
    for file in (folder / "k").iterdir():
        data = bytearray(file.read_bytes() + packed)
        ends = len(data) - len(packed) - base, len(data) - base
        for part in range(1 << sharding["minishard_bits"]):
            struct.pack_into("<QQ", data, 16 * part, *ends)
        file.write_bytes(data)
    image, grown = open_image(folder, ndim=3), track_growth()
    with pytest.raises(DataError, match=r"an index of|unpack to more than"):
        image.read()
    assert grown() < 2**25


@pytest.mark.parametrize("ending", [b"", b"more"])
def test_a_chunk_is_one_gzip_stream(ending):
    packed = gzip.compress(b"abc")
    with pytest.raises(ValueError, match="not one gzip stream"):
        precomputed_shards.unpack_gzip((packed + ending) if ending else packed[:-1], 3)
    assert precomputed_shards.unpack_gzip(packed, 3) == b"abc"
