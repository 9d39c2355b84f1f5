"""One engine for any work: every block is labeled once, wherever a run was ended."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from unmask.blocks.base import Output, Plan
from unmask.blocks.engine import run
from unmask.blocks.grid import Grid
from unmask.errors import CheckpointError, RecipeError
from unmask.interruption import notes_of
from unmask.io import Image, open_labels
from unmask.labels import connected_components

CUTS = [((41, 33), (16, 16)), ((9, 20, 22), (5, 12, 12))]


@dataclass(frozen=True)
class Labeler:
    """Pieces above one half, or one where a voxel is above it."""

    values: np.ndarray
    pieces: bool
    calls: list[tuple[int, ...]] = field(default_factory=list)
    stop_after: int = 1 << 30

    def label(self, tile, *, progress=None):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(tile.write.start)
        if progress is not None:
            progress(1, 2)
        bright = self.values[tile.read.slices] > 0.5
        labels = connected_components(bright) if self.pieces else bright.astype(np.uint8)
        return labels, {"bright": int(self.values[tile.write.slices].sum())}


@dataclass(frozen=True)
class Work:
    """Work whose results outside of the labels are counted."""

    labels: Labeler
    facts: dict[str, int] = field(default_factory=lambda: {"version": 1})
    largest: int | None = None
    events: list[str] = field(default_factory=list)

    def plan(self):
        return Plan(self.facts, self.facts, largest=self.largest, steps=2)

    @contextmanager
    def labeler(self, folder, *, missing, remote, progress):
        self.events.append(f"{missing} missing")
        if remote:
            raise RecipeError("in memory")
        (folder / "shared.bin").write_bytes(b"shared by all blocks")
        yield self.labels
        self.events.append("left")

    def finish(self, folder):
        assert (folder / "shared.bin").exists()
        self.events.append("finished")


def noise(space) -> np.ndarray:
    return np.random.default_rng(0).random(space).astype(np.float32)


def output(path: Path, space) -> Output:
    return Output(path, Image.from_array(noise(space), ndim=len(space)))


@pytest.mark.parametrize(("space", "block"), CUTS)
def test_objects_are_stitched_where_blocks_have_a_halo(space, block, tmp_path):
    values, path = noise(space), tmp_path / "a.tif"
    outcome = run(Work(Labeler(values, pieces=True)), Grid(space, block, 3), output(path, space))
    labels = open_labels(path, ndim=len(space)).read()[0]
    whole = connected_components(values > 0.5)
    assert outcome.largest == labels.max() == whole.max()
    pairs = np.unique(np.stack([labels.ravel(), whole.ravel()]), axis=1)
    assert pairs.shape[1] == whole.max() + 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(("space", "block"), CUTS)
def test_labels_without_a_halo_stay_as_they_are(space, block, tmp_path):
    values, path, grid = noise(space), tmp_path / "a.ome.zarr", Grid(space, block, 0)
    work = Work(Labeler(values, pieces=False), largest=300)
    outcome = run(work, grid, output(path, space))
    labels = open_labels(path, ndim=len(space))
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels.read()[0], values > 0.5)
    bright = [int(values[grid.tile(number).write.slices].sum()) for number in range(len(grid))]
    assert [facts["bright"] for facts in outcome.facts] == bright
    assert outcome.largest == 1
    assert not len(outcome.doubts.ids)
    assert work.events == [f"{len(grid)} missing", "left", "finished"]


@pytest.mark.parametrize(("space", "block"), CUTS)
def test_an_ended_run_is_resumed(space, block, tmp_path):
    values, grid, out = noise(space), Grid(space, block, 3), output(tmp_path / "a.tif", space)
    ended = Work(Labeler(values, pieces=True, stop_after=3))
    with pytest.raises(KeyboardInterrupt) as end:
        run(ended, grid, out)
    kept = f"3 of {len(grid)} blocks are finished and kept in {tmp_path / '.predict'}."
    assert notes_of(end.value) == f"{out.like.source}: {kept}"
    assert ended.events == [f"{len(grid)} missing"]
    other = Work(Labeler(values, pieces=True), facts={"version": 2})
    with pytest.raises(CheckpointError, match="version: 1 before, 2 now"):
        run(other, grid, out, resume=True)
    rest, shown = Work(Labeler(values, pieces=True)), []
    outcome = run(rest, grid, out, resume=True, progress=lambda *step: shown.append(step))
    assert set(rest.labels.calls).isdisjoint(ended.labels.calls)
    assert len(rest.labels.calls) == len(grid) - 3
    assert shown[:2] == [(6, 2 * len(grid)), (7, 2 * len(grid))]
    assert shown[-1] == (2 * len(grid), 2 * len(grid))
    whole = run(Work(Labeler(values, pieces=True)), grid, output(tmp_path / "b.tif", space))
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    assert (outcome.largest, outcome.facts) == (whole.largest, whole.facts)
    assert outcome.doubts.ids == whole.doubts.ids
    np.testing.assert_array_equal(outcome.doubts.boxes, whole.doubts.boxes)


def test_work_that_cannot_be_sent_is_refused(tmp_path):
    space = (8, 8)
    with pytest.raises(RecipeError, match="in memory"):
        run(
            Work(Labeler(noise(space), pieces=True)),
            Grid(space, (4, 4), 0),
            output(tmp_path / "a.tif", space),
            cluster="threads:1",
        )
    assert not (tmp_path / "a.tif").exists()


def test_nothing_is_said_to_be_kept_before_the_first_block(tmp_path):
    work = Work(Labeler(noise((8, 8)), pieces=True, stop_after=0))
    with pytest.raises(KeyboardInterrupt) as end:
        run(work, Grid((8, 8), (4, 4), 1), output(tmp_path / "a.tif", (8, 8)))
    assert notes_of(end.value) == ""
