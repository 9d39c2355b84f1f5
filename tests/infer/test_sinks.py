"""Scores arrive whole, in memory and on disk, and an interrupted run resumes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from unmask.atomic import aside_name, atomic_write
from unmask.data.source import ArraySource
from unmask.errors import DataError
from unmask.infer.sinks import MemorySink, ZarrSink, chunk_shape
from unmask.infer.tiles import run_tiles
from unmask.space.box import Box
from unmask.space.tiling import Tiling

TILING = Tiling((32, 32), overlap=0.5, batch_size=4)


def image(length: int = 700) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, length, 40), dtype=np.float32)


def three(batch):
    return batch.repeat(1, 3, 1, 1) + batch.mean(dim=(1, 2, 3), keepdim=True)


def test_runs_are_averaged_in_memory():
    sink = MemorySink(share=0.5, add=True)
    for value in (1.0, 3.0):
        sink.open((1, 4, 4))
        sink.write(Box((0, 0), (4, 4)), np.full((1, 4, 4), value, np.float32))
    assert (sink.array == 2).all()


def test_a_share_without_adding_scales():
    sink = MemorySink(share=0.5)
    sink.open((1, 2))
    sink.write(Box((0,), (2,)), np.ones((1, 2), np.float32))
    assert (sink.array == 0.5).all()


def test_an_empty_sink_has_no_array():
    with pytest.raises(RuntimeError, match="nothing has been written"):
        _ = MemorySink().array


def test_zarr_equals_memory(tmp_path):
    memory, store = MemorySink(), ZarrSink(tmp_path / "s.zarr", spacing=(2.0, 0.5))
    for sink in (memory, store):
        run_tiles(three, ArraySource(image()), sink, tiling=TILING)
    array = zarr.open_array(store.path, mode="r")
    assert np.array_equal(array[:], memory.array)
    assert array.attrs["complete"] is True
    assert array.attrs["spacing"] == [2.0, 0.5]
    assert array.metadata.dimension_names == ("c", "y", "x")


def test_a_killed_run_goes_on_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("unmask.infer.tiles._PIECE_BYTES", 1)
    whole = ZarrSink(tmp_path / "whole.zarr")
    run_tiles(three, ArraySource(image()), whole, tiling=TILING)

    class Killed(ZarrSink):
        def write(self, box, scores):
            if box.start[0] >= 300:
                raise KeyboardInterrupt
            super().write(box, scores)

    path = tmp_path / "torn.zarr"
    with pytest.raises(KeyboardInterrupt):
        run_tiles(three, ArraySource(image()), Killed(path), tiling=TILING)
    assert zarr.open_array(path, mode="r").attrs["complete"] is False
    rest = ZarrSink(path, resume=True)
    assert 200 < rest.lines < 700
    run_tiles(three, ArraySource(image()), rest, tiling=TILING, first=rest.lines)
    assert np.array_equal(zarr.open_array(path, mode="r")[:], zarr.open_array(whole.path)[:])
    assert ZarrSink(path, resume=True).lines == 700


def test_a_kill_in_the_last_metadata_leaves_nothing(tmp_path, monkeypatch):
    whole = ZarrSink(tmp_path / "whole.zarr")
    run_tiles(three, ArraySource(image()), whole, tiling=TILING)

    def killed(path, text):
        if path.name != "zarr.json":
            return atomic_write(path, text)
        half = aside_name(path).replace(f"-{os.getpid()}-", f"-{2**30}-")
        path.with_name(half).write_text(text[:10])
        raise KeyboardInterrupt

    path = tmp_path / "torn.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("unmask.infer.sinks.atomic_write", killed)
        with pytest.raises(KeyboardInterrupt):
            run_tiles(three, ArraySource(image()), ZarrSink(path), tiling=TILING)
    assert files(path).keys() > files(whole.path).keys()
    rest = ZarrSink(path, resume=True)
    run_tiles(three, ArraySource(image()), rest, tiling=TILING, first=rest.lines)
    assert files(path) == files(whole.path)


def files(folder: Path) -> dict[str, bytes]:
    every = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in every}


def test_without_resume_an_older_array_is_replaced(tmp_path):
    for length in (50, 90):
        sink = ZarrSink(tmp_path / "s.zarr")
        assert sink.lines == 0
        run_tiles(three, ArraySource(image(length)), sink, tiling=TILING)
    assert zarr.open_array(sink.path, mode="r").shape == (3, 90, 40)


def test_other_shapes_and_other_things_are_not_overwritten(tmp_path):
    sink = ZarrSink(tmp_path / "s.zarr")
    sink.open((1, 8, 8))
    with pytest.raises(DataError, match=r"s\.zarr: expected scores of shape \(1, 9, 8\)"):
        ZarrSink(sink.path, resume=True).open((1, 9, 8))
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="found something else"):
        ZarrSink(tmp_path / "mine").open((1, 8, 8))
    with pytest.raises(RuntimeError, match="comes before"):
        ZarrSink(tmp_path / "new.zarr").write(Box((0,), (1,)), np.zeros((1, 1), np.float32))


def test_a_flipped_bit_is_noticed(tmp_path):
    sink = ZarrSink(tmp_path / "s.zarr")
    run_tiles(three, ArraySource(image(64)), sink, tiling=TILING)
    chunk = next(path for path in sink.path.rglob("*") if path.is_file() and path.name.isdigit())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(Exception, match=r"(?i)checksum|error|corrupt|decompress"):
        zarr.open_array(sink.path, mode="r")[:]


@pytest.mark.parametrize("shape", [(3, 8192, 8192), (2, 300, 900, 900), (1, 5, 5), (4, 9)])
def test_chunks_are_thin_and_of_moderate_size(shape):
    chunk = chunk_shape(shape)
    assert len(chunk) == len(shape)
    assert all(1 <= part <= whole for part, whole in zip(chunk, shape, strict=True))
    assert np.prod(chunk) <= 600_000
    assert len(shape) < 3 or chunk[1] <= 128
