"""Labels of clusters in blocks: the nearest centers, whatever happens on the way."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from unmask.checkpoint import lock_run
from unmask.clustering.assign import AssignWork, Counts, label_volume, needs
from unmask.clustering.centers import Centers, fit, prepare
from unmask.clustering.dense import Dense
from unmask.data.normalize import Window
from unmask.errors import CheckpointError, DataError, RecipeError, SaveError
from unmask.io import Image, open_image, open_labels, save_image
from unmask.io.identity import identity
from unmask.kmeans import assign
from unmask.models import ViT

BYTES = Window(0, 255)


def work(dense, volume, centers=None, **options) -> AssignWork:
    centers = centers or Centers(np.zeros((1, 16), np.float32), {})
    return AssignWork(dense, centers, volume, np.arange(1, len(centers.values) + 1), **options)


def label(dense, centers, volume, out, **options) -> Counts:
    return label_volume(work(dense, volume, centers), out, **options)


@pytest.fixture
def dense(monkeypatch):
    """Vectors of blocks of 1 x 15 x 15 voxels or less."""
    torch.manual_seed(0)
    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 16 * 15 * 15)
    vit = ViT(2, 1, image=18, patch=3, dim=16, depth=1, heads=1).eval()
    return Dense(vit, quality="fast", precision="32")


@pytest.fixture
def one(dense):
    values = np.random.default_rng(0).integers(0, 255, (3, 30, 42)).astype(np.uint8)
    image = Image.from_array(values, ndim=3, name="v")
    return prepare(dense, image, channels=1, normalize=BYTES)


@pytest.fixture
def centers(dense, one):
    return fit(dense, [one], 5, seed=0, facts={"a": 1})


@pytest.fixture
def whole(dense, centers, one, tmp_path):
    label(dense, centers, one, tmp_path / "whole.tif")
    return (tmp_path / "whole.tif").read_bytes()


@pytest.fixture
def ended(dense, centers, one, tmp_path, full_disk):
    """Folder of a run into ``l.tif`` that a full disk ended at its fifth block."""
    full_disk("block-", 5)
    with pytest.raises(SaveError, match=r"block-\d+\.bin.*No space left"):
        label(dense, centers, one, tmp_path / "l.tif")
    assert not (tmp_path / "l.tif").exists()
    return tmp_path / ".predict" / "l.tif"


def test_labels_are_the_nearest_centers_and_counted(dense, centers, one, tmp_path):
    assert centers.values.shape == (5, 16)
    assert len(work(dense, one).grid) > 3
    steps = []
    counts = label(
        dense, centers, one, tmp_path / "l.tif", progress=lambda *step: steps.append(step)
    )
    assert isinstance(counts, Counts)
    labels = open_labels(tmp_path / "l.tif", ndim=3).read()[0]
    for box in dense.blocks(one.space):
        vectors = dense.compute(one.read, one.space, box).flatten(0, -2).numpy()
        wanted = assign(vectors, centers.values)[0].reshape(box.shape) + 1
        assert np.array_equal(labels[box.slices], wanted)
    assert counts.voxels.tolist() == np.bincount(labels.ravel(), minlength=6)[1:].tolist()
    gray = one.image.read()[0] / 255
    for cluster in range(5):
        mean = gray[labels == cluster + 1].mean()
        assert counts.intensity[cluster] == pytest.approx(mean, rel=1e-4)
    # Progress is in windows, of which a block has many.
    assert steps[-1][0] == steps[-1][1] >= len(work(dense, one).grid)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_what_it_will_take_is_told(dense, one):
    forecast = needs(dense, one)
    assert forecast.startswith(f"{len(work(dense, one).grid)} blocks of 1 x ")
    assert f"{dense.windows(one.space)} windows" in forecast


def test_a_full_disk_keeps_finished_blocks(dense, centers, one, whole, ended, tmp_path, full_disk):
    assert len(list(ended.glob("block-*.bin"))) == 4
    shown = []
    given = {"resume": True, "progress": lambda *step: shown.append(step[0])}
    full_disk("pages.ome.zarr/0/c", 2)
    with pytest.raises(SaveError, match=r"l\.tif.*--resume"):
        label(dense, centers, one, tmp_path / "l.tif", **given)
    steps = work(dense, one).plan().steps
    assert steps > 1
    assert shown[0] == 4 * steps
    assert 5 * steps in shown
    label(dense, centers, one, tmp_path / "l.tif", resume=True)
    assert (tmp_path / "l.tif").read_bytes() == whole


def test_a_damaged_block_is_computed_again(dense, centers, one, whole, ended, tmp_path, recwarn):
    path = sorted(ended.glob("block-*.bin"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    label(dense, centers, one, tmp_path / "l.tif", resume=True)
    assert (tmp_path / "l.tif").read_bytes() == whole
    assert any("computed again" in str(each.message) for each in recwarn)


@pytest.mark.usefixtures("ended")
def test_other_centers_and_a_second_run_are_refused(dense, centers, one, tmp_path):
    other = fit(dense, [one], 4, seed=1, facts={"a": 1})
    with pytest.raises(CheckpointError, match=r"l\.tif: expected --resume with what .*centres"):
        label(dense, other, one, tmp_path / "l.tif", resume=True)
    with (
        lock_run(tmp_path / ".predict" / "l.tif"),
        pytest.raises(CheckpointError, match=f"process {os.getpid()}"),
    ):
        label(dense, centers, one, tmp_path / "l.tif", resume=True)


def test_a_corrupt_chunk_is_named(dense, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (1, 40, 40)).astype(np.uint8)
    save_image(tmp_path / "v.zarr", values, axes="ZYX")
    chunks = [path for path in (tmp_path / "v.zarr" / "0" / "c").rglob("*") if path.is_file()]
    content = bytearray(chunks[0].read_bytes())
    content[len(content) // 2] ^= 1
    chunks[0].write_bytes(content)
    image = open_image(tmp_path / "v.zarr", ndim=3)
    with pytest.raises(DataError, match=r"v\.zarr.*c/0/0/0"):
        prepare(dense, image, channels=1, normalize=BYTES)


def test_vectors_that_are_not_finite_name_the_file(dense, centers, one, tmp_path, monkeypatch):
    plain = Dense.compute
    monkeypatch.setattr(Dense, "compute", lambda *given, **_: plain(*given) * float("nan"))
    with pytest.raises(DataError, match=r"^v: k-means: expected finite points"):
        label(dense, centers, one, tmp_path / "l.tif")


def test_what_decides_about_labels(dense, centers, one, tmp_path):
    plan = work(dense, one, centers).plan()
    values = centers.values.copy()
    values[3, -1] = np.nextafter(values[3, -1], np.float32(np.inf))
    moved = work(dense, one, Centers(values, centers.facts)).plan()
    assert moved.facts["centres"] != plan.facts["centres"]
    other = work(replace(dense, precision="bf16"), one, centers).plan()
    assert (plan.facts["precision"], other.facts["precision"]) == ("32", "bf16")
    save_image(tmp_path / "v.zarr", np.ones((1, 40, 40), np.uint8), axes="ZYX")
    source = str(tmp_path / "v.zarr")
    marks = {identity(source)}
    chunk = next(path for path in (tmp_path / "v.zarr" / "0" / "c").rglob("*") if path.is_file())
    for changed in (chunk, tmp_path / "v.zarr" / "0" / "zarr.json"):
        assert identity(source) in marks
        os.utime(changed, ns=(1, 1))
        marks.add(identity(source))
    chunk.unlink()
    marks.add(identity(source))
    assert len(marks) == 4
    assert identity("array") == identity(str(tmp_path)) == "-"


def test_a_cluster_needs_files(dense, centers, one, tmp_path):
    with pytest.raises(RecipeError, match="--workers: expected the model and images in files"):
        label(dense, centers, one, tmp_path / "l.tif", cluster="threads:1")
