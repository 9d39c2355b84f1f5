"""Centers and labels of volumes, in parts of bounded size."""

import numpy as np
import pytest
import torch

from unmask.checkpoint import save_model
from unmask.clustering.centers import Centers, fit, prepare, sample_features, subtract_mean
from unmask.clustering.dense import Dense
from unmask.data.normalize import Window
from unmask.errors import CheckpointError, DataError
from unmask.io import Image
from unmask.kmeans import assign
from unmask.models import ViT

BYTES = Window(0, 255)


@pytest.fixture
def dense():
    torch.manual_seed(0)
    vit = ViT(2, 1, image=18, patch=3, dim=16, depth=1, heads=1).eval()
    return Dense(vit, quality="fast", precision="32")


def volume(dense, shape=(3, 30, 42), seed=0):
    values = np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)
    image = Image.from_array(values, ndim=len(shape), name=f"v{seed}")
    return prepare(dense, image, channels=1, normalize=BYTES)


def whole(dense, one):
    return np.concatenate(
        [
            dense.compute(one.read, one.space, box).flatten(0, -2).numpy()
            for box in dense.blocks(one.space)
        ]
    )


def test_sample_is_of_the_volumes_and_a_function_of_the_seed(dense):
    volumes = [volume(dense), volume(dense, (1, 12, 9), seed=1)]
    every = np.concatenate([whole(dense, one) for one in volumes])
    steps: list[tuple[int, int]] = []
    found = sample_features(
        dense, volumes, seed=0, sample=10**9, progress=lambda *step: steps.append(step)
    )
    assert len(found) == len(every)
    windows = sum(dense.windows(one.space) for one in volumes)
    assert steps == sorted(steps)
    assert steps[-1] == (windows, windows)
    np.testing.assert_allclose(np.sort(found[:, 0]), np.sort(every[:, 0]), atol=1e-5)
    some = sample_features(dense, volumes, seed=1, sample=1500)
    assert 1000 < len(some) < 2200
    assert np.array_equal(some, sample_features(dense, volumes, seed=1, sample=1500))
    assert not np.array_equal(
        some, sample_features(dense, volumes, seed=2, sample=1500)[: len(some)]
    )


def test_first_cluster_is_the_largest_of_the_sample(dense):
    one = volume(dense)
    centers = fit(dense, [one], 4, seed=3, facts={}, sample=10**9)
    sizes = np.bincount(assign(whole(dense, one), centers.values)[0], minlength=4)
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


def test_parts_of_a_large_volume_are_small(dense, tmp_path):
    """Nothing reads more than a block with its surroundings, whatever the size of the volume."""
    asked = []
    shape = (1, 40, 9000, 9000)

    def fetch(index):
        sizes = [part.stop - part.start for part in index]
        asked.append(int(np.prod(sizes)))
        rows = np.arange(index[2].start, index[2].stop)[:, None]
        columns = np.arange(index[3].start, index[3].stop)
        plane = ((rows * 7 + columns * 13) % 251).astype(np.uint8)
        return np.broadcast_to(plane, sizes).copy()

    image = Image(shape, np.dtype(np.uint8), "CZYX", "drawn", "drawn", fetch)
    one = prepare(dense, image, channels=1, normalize=BYTES)
    measuring = len(asked)
    points = sample_features(dense, [one], seed=0, sample=2000)
    assert 1500 <= len(points) < 3000
    assert max(asked[measuring:]) < 5000
    block = dense.block(one.space)
    dense.compute(one.read, one.space, dense.blocks(one.space)[12])
    assert max(asked[measuring:]) < 1.5 * np.prod(block)
    assert 4 * dense.dim * np.prod(block) <= 40 << 20


def test_centers_outlive_their_run(dense, tmp_path):
    facts = {"weights": "abc", "quality": "fast"}
    centers = fit(dense, [volume(dense)], 3, seed=0, facts=facts)
    centers.save(tmp_path / "c.safetensors")
    again = Centers.load(tmp_path / "c.safetensors", facts)
    assert np.array_equal(again.values, centers.values)
    with pytest.raises(CheckpointError, match="quality 'fast', not 'exact'"):
        Centers.load(tmp_path / "c.safetensors", facts | {"quality": "exact"})
    with pytest.raises(CheckpointError):
        Centers.load(tmp_path / "none.safetensors", facts)


def test_volumes_that_cannot_be_used(dense):
    values = np.zeros((2, 9, 9), np.float32)
    values[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        prepare(dense, Image.from_array(values, ndim=3), channels=1, normalize=BYTES)
    flat = Image.from_array(np.full((2, 9, 9), 7, np.uint8), ndim=3)
    one = prepare(dense, flat, channels=1, normalize=BYTES)
    with pytest.raises(DataError, match="everywhere after normalization"):
        sample_features(dense, [one], seed=0)


def test_volumes_without_their_means_share_the_origin(dense):
    small, large = volume(dense, (1, 40, 40)), volume(dense, (3, 60, 60), seed=1)
    for one in (small, large):
        less = subtract_mean(dense, one)
        assert less.mean is not None
        np.testing.assert_array_equal(less.mean, subtract_mean(dense, one).mean)
        np.testing.assert_allclose(less.mean, whole(dense, one).mean(axis=0), atol=0.05)
        points = sample_features(dense, [less], seed=0, sample=10**9)
        np.testing.assert_allclose(
            points + less.mean, sample_features(dense, [one], seed=0, sample=10**9), atol=1e-5
        )


def test_centers_are_for_exactly_the_features_asked_for(dense, tmp_path):
    Centers(np.zeros((2, 3), np.float32), {"dim": 3, "common_mean": True}).save(tmp_path / "c")
    with pytest.raises(CheckpointError, match="common_mean True, not None"):
        Centers.load(tmp_path / "c", {"dim": 3})
    with pytest.raises(CheckpointError, match="dim 3, not 4"):
        Centers.load(tmp_path / "c", {"dim": 4, "common_mean": True})


@pytest.mark.parametrize(
    ("name", "values", "card"),
    [
        ("centres", torch.zeros(2, 3), {}),
        ("centres", torch.zeros(2, 3), {"kind": "model", "features": {}}),
        ("other", torch.zeros(2, 3), {"kind": "clusters", "features": {}}),
        ("centres", torch.zeros(3), {"kind": "clusters", "features": {}}),
        ("centres", torch.zeros(2, 3).int(), {"kind": "clusters", "features": {}}),
        ("centres", torch.zeros(2, 3), {"kind": "clusters", "features": [1]}),
        ("centres", torch.zeros(2, 3), {"kind": "clusters"}),
    ],
)
def test_files_that_hold_no_centers(name, values, card, tmp_path):
    save_model(tmp_path / "c.safetensors", {name: values}, card)
    with pytest.raises(CheckpointError, match=r"c\.safetensors"):
        Centers.load(tmp_path / "c.safetensors", {})


def test_centers_as_text(tmp_path):
    """One center per line, as MAESTER's k6.txt; only the number of features can be checked."""
    path = tmp_path / "k6.txt"
    values = np.arange(12.0).reshape(6, 2) / 7
    np.savetxt(path, values)
    found = Centers.load(path, {"dim": 2, "weights": "w"})
    np.testing.assert_allclose(found.values, values, rtol=1e-6)
    assert found.values.dtype == np.float32
    with pytest.raises(CheckpointError, match=r"k6\.txt: expected 3 finite features per line"):
        Centers.load(path, {"dim": 3})
    path.write_text("no numbers")
    with pytest.raises(CheckpointError, match="one center per line"):
        Centers.load(path, {"dim": 2})
