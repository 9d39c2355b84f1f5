"""Labels in blocks are those of the whole image; work that is done stays done."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import zarr
from torch import nn

from unmask import interruption
from unmask.blocks import engine, ship
from unmask.blocks.grid import LARGE, Grid, choose_block
from unmask.checkpoint import lock_run
from unmask.data.grid import View
from unmask.data.normalize import NoNormalize, Percentile
from unmask.data.source import cut_image
from unmask.errors import CheckpointError, DataError, RecipeError, SaveError
from unmask.infer import predict_blocks as blocks
from unmask.infer import sinks, tiles
from unmask.infer.large import is_large
from unmask.infer.predict_blocks import plan_blocks, predict_blocks
from unmask.infer.predictor import Origin, Predictor
from unmask.infer.sinks import ZarrSink
from unmask.infer.views import Views
from unmask.io import Image, open_image, open_labels, save_image, save_labels
from unmask.io.majority import majority
from unmask.labels import connected_components, labels_to_flows
from unmask.labels.affinities import METHODS
from unmask.labels.edges import shift_slices
from unmask.phantoms.cells import nuclei
from unmask.space.box import Box
from unmask.space.tiling import Tiling
from unmask.tasks.affinities import Affinities
from unmask.tasks.embeddings import Embeddings
from unmask.tasks.flows import Flows
from unmask.testing.untrained import Untrained


class Same(nn.Module):
    """A network whose logits are the image; windows are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.windows = 0

    def logits(self, image):
        self.windows += len(image)
        return image


class Undefined(Same):
    """A network that gives NaN."""

    def logits(self, image):
        return super().logits(image) * torch.nan


@dataclass(frozen=True)
class Pieces(Untrained):
    """Connected pieces above one half."""

    context = 3
    metrics = ("dice",)

    def decode(self, scores, spacing):
        return connected_components(scores[0] > 0.5)


class Classes(Pieces):
    context = 0

    def decode(self, scores, spacing):
        return (scores[0] > 0.5).astype(np.uint8) * 7


def split(options: dict[str, Any], ndim: int) -> dict[str, Any]:
    """Options of a recipe as the predictor has them."""
    rest = {"tile": (16,) * ndim, **options}
    given = [name for name in rest if name in ("overlap", "blend", "pad", "batch_size")]
    tiling = Tiling(rest.pop("tile"), **{name: rest.pop(name) for name in given})
    views = Views.of(ndim, **{k: rest.pop(k) for k in ("tta", "mirror_positions") if k in rest})
    return {"tiling": tiling, "views": views, **rest}


def predictor(ndim: int, *, task=None, **options) -> Predictor:
    chosen = {"channels": 1, "normalize": NoNormalize(), **split(options, ndim)}
    return Predictor([Same()], task=task or Pieces(), **chosen)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def same_objects(first: np.ndarray, second: np.ndarray) -> bool:
    """Equal up to renaming, background included."""
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    ids = [np.unique(side) for side in pairs]
    return np.array_equal(first == 0, second == 0) and pairs.shape[1] == len(ids[0]) == len(ids[1])


def read(path: Path, ndim: int) -> np.ndarray:
    return open_labels(path, ndim=ndim).read()[0]


CUTS = [((70, 65), (30, 20)), ((12, 33, 28), (7, 16, 20)), ((5, 60), (4, 64)), ((1, 1), (8, 8))]


@pytest.mark.parametrize(("space", "block"), CUTS)
@pytest.mark.parametrize("options", [{}, {"tta": True, "blend": "crop"}, {"overlap": 0.0}], ids=str)
def test_objects_are_those_of_the_whole(space, block, options, tmp_path):
    model = predictor(len(space), **options)
    whole = model.predict(noise(*space)).labels
    found = predict_blocks(model, noise(*space), tmp_path / "a.tif", block=block)
    labels = read(tmp_path / "a.tif", len(space))
    assert same_objects(whole, labels)
    assert found == labels.max() == whole.max()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(("space", "block"), CUTS)
def test_classes_are_those_of_the_whole(space, block, tmp_path):
    model = predictor(len(space), task=Classes())
    found = predict_blocks(model, noise(*space), tmp_path / "a.tif", block=block)
    labels = read(tmp_path / "a.tif", len(space))
    np.testing.assert_array_equal(labels, model.predict(noise(*space)).labels)
    assert found == labels.max()


@pytest.mark.parametrize("shape", [(150, 170), (24, 60, 70)])
def test_flows_of_phantoms_have_no_cut_cells_and_no_double_ids(shape, tmp_path):
    """A network that knows the truth: flows and foreground come in as the image."""
    ndim = len(shape)
    truth = nuclei(shape, rng=np.random.default_rng(1), diameter=10).labels
    image = np.concatenate([labels_to_flows(truth), truth[None] > 0]).astype(np.float32)
    task = Flows(ndim, flow_scale=1.0, reach=10, max_fraction=1.0, min_size=5)
    logits = image.copy()
    logits[-1] = np.where(truth > 0, 9, -9)
    model = predictor(ndim, task=task, channels=ndim + 1, tile=(24,) * ndim)
    whole = model.predict(Image.from_array(logits, axes="CZYX"[:1] + "ZYX"[-ndim:])).labels
    opened = Image.from_array(logits, axes="C" + "ZYX"[-ndim:])
    block = tuple(max(12, n // 3) for n in shape)
    assert predict_blocks(model, opened, tmp_path / "a.ome.zarr", block=block) == whole.max()
    labels = read(tmp_path / "a.ome.zarr", ndim)
    assert whole.max() > 10
    assert same_objects(whole, labels)
    np.testing.assert_array_equal(np.unique(labels), np.arange(whole.max() + 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(90, 100), (20, 40, 44)])
def test_affinities_of_phantoms_have_no_cut_cells_and_no_double_ids(method, shape, tmp_path):
    """A network that knows the truth: affinities and foreground come in as the image."""
    ndim = len(shape)
    truth = nuclei(shape, rng=np.random.default_rng(1), diameter=10).labels
    offsets = [tuple(-far * (a == b) for b in range(ndim)) for far in (1, 4) for a in range(ndim)]
    logits = np.full((len(offsets) + 1, *shape), -9, np.float32)
    for channel, offset in enumerate(offsets):
        here, there = shift_slices(shape, offset)
        logits[channel][here][(truth[here] == truth[there]) & (truth[here] > 0)] = 9
    logits[-1][truth > 0] = 9
    decoding = {"name": method, "min_size": 5}
    task = Affinities(ndim, offsets, foreground=True, decoding=decoding, reach=12)
    model = predictor(ndim, task=task, channels=len(logits), tile=(24,) * ndim)
    opened = Image.from_array(logits, axes="C" + "ZYX"[-ndim:])
    whole = model.predict(opened).labels
    block = tuple(max(12, n // 2) for n in shape)
    assert predict_blocks(model, opened, tmp_path / "a.ome.zarr", block=block) == whole.max()
    assert whole.max() > 10
    assert same_objects(whole, read(tmp_path / "a.ome.zarr", ndim))


def test_background_that_is_the_largest_object_is_not_looked_for_in_blocks(tmp_path):
    task = Embeddings(2, dims=2, offsets=((-1, 0), (0, -1)), background="object", reach=4)
    model = predictor(2, task=task, channels=2)
    codes = np.zeros((2, 40, 40), np.float32)
    codes[0] = 1
    # the largest object of its block
    codes[:, :20, :16] = np.array([0, 1])[:, None, None]
    image = Image.from_array(codes, axes="CYX")
    with pytest.raises(
        RecipeError, match=r"foreground_weight above 0\), or predict without blocks"
    ):
        predict_blocks(model, image, tmp_path / "a.tif", block=(20, 20))
    assert not list(tmp_path.iterdir())
    predict_blocks(model, image, tmp_path / "a.tif", block=(40, 40))
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 2), codes[1])
    learned = replace(task, foreground=True)
    plan_blocks(predictor(2, task=learned, channels=4), image, (20, 20))


@pytest.mark.parametrize(("length", "places"), [(4, 0), (30, 1)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_objects_longer_than_the_halo_are_told_of(length, places, ndim, tmp_path):
    shape = (8,) * (ndim - 1) + (64,)
    image = np.zeros(shape, np.float32)
    image[..., 32 - length // 2 : 32 + length // 2] = 1
    lines: list[str] = []
    block = (8,) * (ndim - 1) + (32,)
    given = {"block": block, "say": lines.append}
    predict_blocks(predictor(ndim), image, tmp_path / "a.tif", **given)
    assert len(lines) == bool(places)
    words = ("1 object larger than the halo of 3 voxels", "labels 1.", "A halo of 30 voxels")
    assert all(word in line for line in lines for word in words)


def test_scores_that_cannot_be_decoded_name_the_image(tmp_path):
    task = Affinities(2, ((-1, 0), (0, -1)), foreground=True, reach=4)
    model = replace(predictor(2, task=task, channels=3), segmenters=[Undefined()])
    image = Image.from_array(noise(3, 40, 40), axes="CYX")
    with pytest.raises(DataError, match=f"^{image.source}: scores of the foreground: expected"):
        predict_blocks(model, image, tmp_path / "a.tif", block=(20, 20))


@pytest.mark.parametrize("normalize", [Percentile(), NoNormalize()])
def test_the_image_is_normalized_as_a_whole(normalize, tmp_path):
    ramp = (np.indices((64, 64)).sum(0) * 400).astype(np.uint16)
    model = predictor(2, task=Classes(), normalize=normalize)
    save_image(tmp_path / "ramp.tif", ramp)
    predict_blocks(model, open_image(tmp_path / "ramp.tif"), tmp_path / "a.tif", block=(16, 16))
    whole = model.predict(open_image(tmp_path / "ramp.tif")).labels
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 2), whole)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif", ".ome.tif", ".h5", ".nii", ".nii.gz"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_formats(suffix, ndim, tmp_path):
    space = (40, 37, 33)[-ndim:]
    spacing = (2.0, 0.5, 0.25)[-ndim:]
    image = replace(Image.from_array(noise(*space), spacing=spacing), unit="um")
    model, out = predictor(ndim), tmp_path / f"a{suffix}"
    for _ in range(2):  # an older output is replaced
        predict_blocks(model, image, out, block=(20,) * ndim)
        found = open_labels(out, ndim=ndim)
        assert found.spacing == spacing
        assert same_objects(found.read()[0], model.predict(image).labels)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("suffix", [".ome.zarr", ".nii.gz"])
@pytest.mark.parametrize("cluster", [None, "threads:2"])
def test_a_grid_of_the_network_is_left_again(suffix, cluster, tmp_path):
    affine = np.diag([-0.5, 0.7, 2.0, 1])
    volume = np.zeros((33, 37, 20), np.float32)
    volume[8:27, 8:30, 4:18] = noise(19, 22, 14)
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "image.nii.gz")
    image = open_image(tmp_path / "image.nii.gz", ndim=3)
    model = predictor(3, task=Classes(), view=View((1.0,) * 3, 0.01), average="scores")
    if cluster is not None:
        model = replace(model, origin=Origin(("a.safetensors",)))
        ship._LOADED.clear()
    out = tmp_path / "out" / f"a{suffix}"
    out.parent.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "load_predictor", lambda *_, **__: model)
        predict_blocks(model, image, out, block=(8, 12, 12), cluster=cluster)
        if cluster is None:
            scores = tmp_path / "out" / "scores.zarr"
            predict_blocks(model, image, out, block=(8, 12, 12), scores=scores)
            found = open_image(scores, ndim=3).read()
            np.testing.assert_allclose(found, model.scores(image), atol=1e-5)
    labels = open_labels(out, ndim=3)
    assert labels.shape == image.shape
    assert labels.spacing == pytest.approx(image.spacing)
    np.testing.assert_array_equal(labels.read()[0], model.predict(image).labels)
    assert 0 < labels.read().max() == 7
    if suffix == ".nii.gz":
        written: Any = nibabel.load(out)
        np.testing.assert_array_equal(written.affine, affine.astype(np.float32))


def test_channels_in_files_of_their_own(tmp_path, monkeypatch):
    for number in range(2):
        save_image(tmp_path / f"a_{number}.tif", noise(30, 33, seed=number))
    image = open_image(tmp_path / "a_{0,1}.tif", ndim=2)
    model = replace(predictor(2, channels=2), origin=Origin(("a.safetensors",)))
    ship._LOADED.clear()
    monkeypatch.setattr(blocks, "load_predictor", lambda *_, **__: model)
    predict_blocks(model, image, tmp_path / "out.tif", block=(16, 16), cluster="threads:1")
    assert same_objects(read(tmp_path / "out.tif", 2), model.predict(image).labels)


def test_a_store_has_coarser_levels_scale_and_provenance(tmp_path):
    image = Image.from_array(noise(30, 300, 520), spacing=(4.0, 1.0, 1.0))
    model = predictor(3, task=Classes(), tile=(16, 64, 64))
    predict_blocks(model, image, tmp_path / "a.ome.zarr", block=(15, 100, 128))
    group = zarr.open_group(tmp_path / "a.ome.zarr" / "labels" / "labels", mode="r")
    attributes: Any = group.attrs.asdict()
    datasets = attributes["ome"]["multiscales"][0]["datasets"]
    scales = [each["coordinateTransformations"][0]["scale"] for each in datasets]
    assert scales == [[4, 1, 1], [4, 2, 2], [4, 2, 4]]
    levels = [np.asarray(group[str(number)]) for number in range(3)]
    np.testing.assert_array_equal(levels[1], majority(levels[0], (1, 2, 2)))
    np.testing.assert_array_equal(levels[2], majority(levels[1], (1, 1, 2)))
    assert open_image(tmp_path / "a.ome.zarr", level=1).shape == (1, 30, 150, 260)
    assert {"weights", "task", "unmask"} <= set(attributes["unmask"])
    # Chunks do not depend on the blocks, so labels written at once are the same bytes.
    kept = attributes["unmask"]
    labels = model.predict(image).labels
    save_labels(tmp_path / "b.ome.zarr", labels, like=image, provenance=lambda: kept)
    stores = [tmp_path / name for name in ("a.ome.zarr", "b.ome.zarr")]
    files = [
        {str(f.relative_to(store)): f.read_bytes() for f in store.rglob("*") if f.is_file()}
        for store in stores
    ]
    roots = [json.loads(found.pop("zarr.json")) for found in files]
    assert files[0] == files[1]
    for root, store in zip(roots, stores, strict=True):
        assert root["attributes"]["ome"]["multiscales"][0].pop("name") == store.name
    assert roots[0] == roots[1]


def test_windows_of_a_block_are_those_of_the_whole_image():
    for length, window, overlap, block in [
        (200, 16, 0.25, 37),
        (100, 32, 0.5, 100),
        (9, 16, 0.0, 4),
    ]:
        tiling = Tiling((window,), overlap)
        places = tiling.positions((length,))[0]
        grid = Grid((length,), (block,), 7)
        for number in range(len(grid)):
            tile = grid.tile(number)
            box = tiling.cover(tile.read, grid.space)
            own = [place + box.start[0] for place in tiling.positions(box.shape)[0]]
            assert set(own) <= set(places)
            assert box.clip(tile.read) == tile.read
            touching = {p for p in places if tile.write.clip(Box((p,), (p + window,))).size}
            assert touching <= set(own)


def windows(model: Predictor) -> int:
    """Windows that the network has seen."""
    return sum(network.windows for network in model.segmenters if isinstance(network, Same))


class TestResume:
    # Windows so small that none of them is seen twice by many blocks: scores are not stored.
    space, block = (90, 90), (30, 30)

    def run(self, out, *, model=None, image=None, **options):
        model = model or predictor(2, tile=(4, 4), overlap=0.0)
        image = noise(*self.space) if image is None else image
        predict_blocks(model, image, out, block=self.block, **options)
        return model

    def ended(self, out, monkeypatch, *, after=4, error=KeyboardInterrupt):
        """A run that ends while it writes a block."""
        write, count = engine.write_arrays, [0]

        def failing(*given):
            count[0] += 1
            if count[0] > after:
                raise error
            write(*given)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "write_arrays", failing)
            with pytest.raises(error):
                self.run(out)

    def test_finished_blocks_are_not_computed_again(self, tmp_path, monkeypatch):
        for name in ("a.ome.zarr", "a.tif"):
            whole = windows(self.run(tmp_path / "whole" / name))
            self.ended(tmp_path / name, monkeypatch, after=7)
            assert not (tmp_path / name).exists()
            rest = windows(self.run(tmp_path / name, resume=True))
            assert 0 < rest < whole / 2
            assert content(tmp_path / name) == content(tmp_path / "whole" / name)
        assert not (tmp_path / ".predict").exists()

    def test_without_resume_all_is_new(self, tmp_path, monkeypatch):
        whole = windows(self.run(tmp_path / "b.tif"))
        self.ended(tmp_path / "a.tif", monkeypatch)
        assert windows(self.run(tmp_path / "a.tif")) == whole

    def test_a_damaged_block_is_computed_again(self, tmp_path, monkeypatch):
        self.run(tmp_path / "b.tif")
        for place in (3, 30, -1):
            self.ended(tmp_path / "a.tif", monkeypatch)
            file = sorted((tmp_path / ".predict" / "a.tif").glob("block-*"))[1]
            data = bytearray(file.read_bytes())
            data[place] ^= 1
            file.write_bytes(data)
            with pytest.warns(UserWarning, match=rf"{file.name}.*computed again"):
                self.run(tmp_path / "a.tif", resume=True)
            assert content(tmp_path / "a.tif") == content(tmp_path / "b.tif")

    def test_a_cut_block_is_computed_again(self, tmp_path, monkeypatch):
        self.run(tmp_path / "b.tif")
        for size in (0, 10, 100):
            self.ended(tmp_path / "a.tif", monkeypatch)
            file = sorted((tmp_path / ".predict" / "a.tif").glob("block-*"))[0]
            file.write_bytes(file.read_bytes()[:size])
            with pytest.warns(UserWarning, match="computed again"):
                self.run(tmp_path / "a.tif", resume=True)
            assert content(tmp_path / "a.tif") == content(tmp_path / "b.tif")

    def test_other_settings_are_refused(self, tmp_path, monkeypatch):
        self.ended(tmp_path / "a.tif", monkeypatch)
        with pytest.raises(CheckpointError, match=r"overlap: 0\.0 before, 0\.5 now"):
            self.run(tmp_path / "a.tif", model=predictor(2, tile=(4, 4), overlap=0.5), resume=True)
        other = predictor(2, tile=(4, 4), overlap=0.0)
        other.segmenters[0].load_state_dict({"weight": torch.ones(1)})
        with pytest.raises(CheckpointError, match="weights: "):
            self.run(tmp_path / "a.tif", model=other, resume=True)

    def test_scores_are_completed_too(self, tmp_path, monkeypatch):
        image = noise(*self.space)
        self.ended(tmp_path / "a.tif", monkeypatch)
        self.run(tmp_path / "a.tif", resume=True, scores=tmp_path / "scores" / "a.zarr")
        stored = open_image(tmp_path / "scores" / "a.zarr", ndim=2).read()
        np.testing.assert_allclose(stored[0], image, atol=1e-6)
        assert same_objects(read(tmp_path / "a.tif", 2), predictor(2).predict(image).labels)

    def test_two_runs_into_one_output(self, tmp_path):
        held = lock_run(tmp_path / ".predict" / "a.tif")
        with held, pytest.raises(CheckpointError, match=r"process \d+.*another --out"):
            self.run(tmp_path / "a.tif")

    def test_a_full_disk(self, tmp_path, full_disk):
        self.run(tmp_path / "b.ome.zarr")
        full_disk("block-", 3)
        with pytest.raises(SaveError, match=r"block-\d+\.bin.*No space left"):
            self.run(tmp_path / "a.ome.zarr")
        assert not (tmp_path / "a.ome.zarr").exists()
        full_disk("labels/labels/0/c", 1)
        with pytest.raises(SaveError, match=r"a\.ome\.zarr.*--resume"):
            self.run(tmp_path / "a.ome.zarr", resume=True)
        self.run(tmp_path / "a.ome.zarr", resume=True)
        assert content(tmp_path / "a.ome.zarr") == content(tmp_path / "b.ome.zarr")


def content(path: Path) -> dict[str, bytes]:
    """Bytes of a file or of all files in a folder, without names in provenance."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {
        file.relative_to(path).as_posix(): file.read_bytes().replace(b"b.", b"a.") for file in files
    }


class TestBadInput:
    def test_values_that_are_not_finite_are_named_by_their_place(self, tmp_path):
        image = noise(40, 50)
        image[33, 41] = np.nan
        opened = cut_image(Image.from_array(image, name="x"), Box((20, 20), (40, 50)))
        with pytest.raises(DataError, match=r"x: .*channel 0 at y 33, x 41"):
            opened.read()
        with pytest.raises(DataError, match="channel 0 at y 33, x 41"):
            predict_blocks(predictor(2), image, tmp_path / "a.tif", block=(16, 16))

    def test_a_corrupt_chunk_is_named(self, tmp_path):
        image = np.random.default_rng(0).integers(0, 255, (1100, 1100)).astype(np.uint8)
        save_image(tmp_path / "in.zarr", image)
        chunk = tmp_path / "in.zarr" / "0" / "c" / "1" / "2"
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 4
        chunk.write_bytes(data)
        model = predictor(2, task=Classes(), tile=(256, 256))
        with pytest.raises(DataError, match=r"in\.zarr.*c/1/2"):
            predict_blocks(
                model, open_image(tmp_path / "in.zarr"), tmp_path / "a.tif", block=(512, 512)
            )

    def test_axes_and_blocks_that_do_not_fit(self, tmp_path):
        with pytest.raises(DataError, match=r"2 spatial axes.*found 3"):
            plan_blocks(predictor(2), Image.from_array(noise(8, 9, 10), ndim=3))
        for block in [(4,), (4, 4, 4), (0, 4)]:
            with pytest.raises(RecipeError, match=r"infer\.block"):
                predict_blocks(predictor(2), noise(9, 9), tmp_path / "a.tif", block=block)
        assert list(tmp_path.iterdir()) == []

    def test_a_cluster_needs_files(self, tmp_path):
        with pytest.raises(RecipeError, match=r"--workers.*files"):
            predict_blocks(predictor(2), noise(9, 9), tmp_path / "a.tif", cluster="threads:1")


def test_empty_and_constant_images(tmp_path):
    for value in (0.0, 1.0):
        image = np.full((40, 41), value, np.float32)
        assert predict_blocks(predictor(2), image, tmp_path / "a.tif", block=(16, 16)) == value
        assert np.all(read(tmp_path / "a.tif", 2) == value)


def test_progress_counts_windows(tmp_path):
    seen: list[tuple[int, int]] = []
    predict_blocks(
        predictor(2, tile=(4, 4), overlap=0.0),
        noise(60, 60),
        tmp_path / "a.tif",
        block=(20, 20),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 9


def test_automatic_blocks_keep_to_their_budget():
    for space, halo, classes in [
        ((10**5, 10**5), 64, 3),
        ((2000, 2000, 2000), 16, 4),
        ((9, 10**4, 10**4), 0, 2),
    ]:
        block = choose_block(space, halo=halo, classes=classes)
        grid = Grid(space, block, halo)
        middle = int(np.ravel_multi_index([n // 2 for n in grid.counts], grid.counts))
        assert grid.tile(middle).read.size * 4 * classes < 1 << 30
        assert grid.tile(middle).read.size * 4 * classes > 1 << 26
    assert choose_block((100, 90), halo=8, classes=1) == (100, 90)


def test_large_images_are_those_whose_scores_fill_memory():
    small, large = (np.broadcast_to(np.float32(0), (n, 1 << 14)) for n in (1 << 12, 1 << 14))
    assert not is_large(predictor(2), Image.from_array(small, ndim=2))
    assert is_large(predictor(2), Image.from_array(large, ndim=2))
    assert LARGE < 4 << 28


def test_the_forecast_tells_blocks_memory_and_windows():
    _, cost = plan_blocks(predictor(2), Image.from_array(noise(200, 200)), (64, 64))
    assert cost.blocks == 16
    assert 1 <= cost.passes < 3
    assert "16 blocks of 64 x 64" in str(cost)
    assert "disk" not in str(cost)


def test_scores_are_stored_where_windows_would_be_seen_too_often(tmp_path):
    image = noise(60, 60)
    opened = Image.from_array(image)
    costs = [plan_blocks(predictor(2), opened, (12, 12), store=s)[1] for s in (None, True, False)]
    assert [cost.stored for cost in costs] == [60 * 60 * 4, 60 * 60 * 4, 0]
    assert [cost.passes for cost in costs[:2]] == [1, 1]
    assert costs[2].passes > 2
    assert "0.0 GB of scores on the disk" in str(costs[0])
    model = predictor(2)
    predict_blocks(model, image, tmp_path / "a.tif", block=(12, 12))
    plain = predictor(2)
    whole = plain.predict(image).labels
    assert windows(model) == windows(plain)
    assert same_objects(whole, read(tmp_path / "a.tif", 2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert plan_blocks(predictor(2, mirror_positions=True), opened, (12, 12))[1].stored == 0


def test_a_full_disk_while_scores_are_stored(tmp_path, monkeypatch):
    def full(self, box, scores):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ZarrSink, "write", full)
        with pytest.raises(SaveError, match=r"scores.*No space left.*--resume"):
            predict_blocks(predictor(2), noise(60, 60), tmp_path / "a.tif", block=(12, 12))
    predict_blocks(predictor(2), noise(60, 60), tmp_path / "a.tif", block=(12, 12), resume=True)
    whole = predictor(2).predict(noise(60, 60)).labels
    assert same_objects(whole, read(tmp_path / "a.tif", 2))


def test_a_block_is_decoded_while_the_network_works_on_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(blocks, "free_memory", lambda: 1 << 40)
    decode, score, started, scored = blocks.decode_scores, Predictor.score_seen, Event(), []

    def slow_decode(*given, **options):
        assert len(scored) > 1 or started.wait(30), "the network waits for the decoding"
        return decode(*given, **options)

    def noted(*given, **options):
        scored.append(1)
        if len(scored) == 2:
            started.set()
        return score(*given, **options)

    monkeypatch.setattr(blocks, "decode_scores", slow_decode)
    monkeypatch.setattr(Predictor, "score_seen", noted)
    image, model = noise(128, 16), predictor(2, overlap=0.0)
    count = predict_blocks(model, image, tmp_path / "a.tif", block=(32, 16))
    assert len(scored) == 4
    assert count == model.predict(image).labels.max()


class Paced(Same):
    """A network that does something before each batch."""

    def __init__(self, before):
        super().__init__()
        self.before = before

    def logits(self, image):
        self.before(self.windows)
        return super().logits(image)


@pytest.fixture
def stored_line_by_line(monkeypatch):
    """Two blocks at once, and stored scores that can be read soon after they are there."""
    monkeypatch.setattr(blocks.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(blocks, "free_memory", lambda: 1 << 40)
    monkeypatch.setattr(blocks.torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(sinks, "_CHUNK_VALUES", 1)
    monkeypatch.setattr(tiles, "_PIECE_BYTES", 1)


@pytest.mark.usefixtures("stored_line_by_line")
class TestStoredScores:
    @pytest.mark.parametrize("space", [(96, 20), (48, 20, 16)])
    def test_blocks_are_decoded_while_the_network_goes_on(self, space, tmp_path, monkeypatch):
        ndim, decoded, decode = len(space), Event(), blocks.decode_scores
        plain = predictor(ndim, batch_size=1)
        whole = plain.predict(noise(*space)).labels
        last = windows(plain) - 1

        def note(*given, **options):
            decoded.set()
            return decode(*given, **options)

        def wait(seen):
            assert seen < last or decoded.wait(30), "the decoding waits for the network"

        monkeypatch.setattr(blocks, "decode_scores", note)
        model = replace(plain, segmenters=[Paced(wait)])
        steps, out = [], tmp_path / "a.tif"
        predict_blocks(
            model, noise(*space), out, block=(12,) * ndim, scores=tmp_path / "a.zarr",
            progress=lambda *step: steps.append(step),
        )  # fmt: skip
        assert same_objects(whole, read(out, ndim))
        assert steps[-1][0] == steps[-1][1]
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)

    def test_an_error_in_a_block_ends_the_network(self, tmp_path, monkeypatch):
        failed = Event()

        def fail(*given, **options):
            failed.set()
            raise DataError("this block")

        def wait(seen):
            assert seen < 40 or failed.wait(30)
            time.sleep(0.01)

        monkeypatch.setattr(blocks, "decode_scores", fail)
        model = replace(predictor(2, batch_size=1), segmenters=[Paced(wait)])
        with pytest.raises(DataError, match="this block"):
            predict_blocks(model, noise(2000, 16), tmp_path / "a.tif", block=(12, 12))
        assert 0 < windows(model) < 100

    def test_an_error_of_the_network_ends_blocks_that_wait(self, tmp_path):
        def fail(seen):
            if seen == 20:
                raise DataError("this window")

        image, plain = noise(400, 16), predictor(2, batch_size=1)
        model = replace(plain, segmenters=[Paced(fail)])
        with pytest.raises(DataError, match="this window"):
            predict_blocks(model, image, tmp_path / "a.tif", block=(12, 12))
        predict_blocks(plain, image, tmp_path / "b.tif", block=(12, 12))
        rest = predictor(2, batch_size=1)
        predict_blocks(rest, image, tmp_path / "a.tif", block=(12, 12), resume=True)
        assert 0 < windows(rest) < windows(plain)
        assert content(tmp_path / "a.tif") == content(tmp_path / "b.tif")

    @pytest.mark.parametrize("last", [20, None])
    def test_a_resumed_run_begins_with_what_is_there(self, last, tmp_path, monkeypatch):
        """Its first report has the scores of the ended run, which took no time in this one."""

        def stop(seen):
            if seen == last:
                raise KeyboardInterrupt

        def end(*given, **options):
            raise KeyboardInterrupt

        image, out = Image.from_array(noise(400, 16), ndim=2), tmp_path / "a.tif"
        model = replace(predictor(2, batch_size=1), segmenters=[Paced(stop)])
        with monkeypatch.context() as patch:
            if last is None:
                # No block is decoded before all scores are there.
                patch.setattr(blocks, "_leaves_cores", lambda _: False)
                patch.setattr(blocks, "decode_scores", end)
            with pytest.raises(KeyboardInterrupt) as ended:
                predict_blocks(model, image, out, block=(12, 12))
        kept = interruption.notes_of(ended.value)
        share = re.search(r"(\d+) % of the scores are kept\.$", kept)
        assert share is not None, kept
        assert (share[1] == "100") == (last is None)
        whole, rest, steps = predictor(2, batch_size=1), predictor(2, batch_size=1), []
        predict_blocks(whole, image, tmp_path / "b.tif", block=(12, 12))
        predict_blocks(
            rest, image, out, block=(12, 12), resume=True,
            progress=lambda *step: steps.append(step),
        )  # fmt: skip
        done = [step for step, _ in steps]
        assert done[0] >= windows(whole) - windows(rest) > 0
        assert done == sorted(done)
        assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize(
    ("cores", "free", "expected"), [(1, 1 << 40, 1), (4, 0, 1), (4, 1 << 40, 2)]
)
def test_two_blocks_are_in_work_if_cores_and_memory_suffice(monkeypatch, cores, free, expected):
    monkeypatch.setattr(blocks.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(blocks, "free_memory", lambda: free)
    image = Image.from_array(noise(32, 32), ndim=2)
    assert blocks._threads(blocks.plan_work(predictor(2), image, block=(16, 16))) == expected
