"""Vectors of every voxel, against encoders that tell where they look."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from unmask.clustering.dense import Dense, features
from unmask.errors import DataError, RecipeError
from unmask.models import ResUNet, ViT
from unmask.models.base import Tokens
from unmask.models.patches import patchify
from unmask.space.box import Box
from unmask.space.pad import pad_reads


class Where(nn.Module):
    """Its tokens are the mean of each channel of their patch."""

    def __init__(self, patch, grid):
        super().__init__()
        self.ndim = len(patch)
        self.in_channels = self.dim = self.ndim
        self.channels, self.strides = (self.dim,), (patch,)
        self.patch, self.grid = patch, grid
        self.still = nn.Parameter(torch.zeros(()))

    def forward(self, image):
        return [image]

    def embed(self, image):
        values = patchify(image, self.patch).unflatten(2, (-1, self.in_channels)).mean(dim=2)
        return Tokens(values, self.grid)

    def encode(self, tokens, keep=None):
        return torch.cat([torch.full_like(tokens[:, :1], -1e6), tokens], dim=1)


def coordinates(box):
    """Voxels whose channels are their coordinates; continues outside the image."""
    axes = [np.arange(a, b, dtype=np.float32) for a, b in zip(box.start, box.stop, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def looked_at(dense, space, read=coordinates):
    found = np.full((*space, dense.dim), np.nan, np.float32)
    for box in dense.blocks(space):
        part = dense.compute(read, space, box)
        assert np.isnan(found[box.slices]).all()
        found[box.slices] = part
    return np.moveaxis(found, -1, 0)


MAESTER = Where((5, 5), (16, 16))
SIZES = [(80, 80), (81, 119), (37, 400), (5, 3), (1, 1)]


@pytest.mark.parametrize("quality", ["exact", "fast"])
@pytest.mark.parametrize("space", SIZES)
def test_aligned_is_exact_for_every_pixel(space, quality):
    dense = Dense(MAESTER, quality=quality, precision="32")
    np.testing.assert_allclose(
        looked_at(dense, space), coordinates(Box.of(space)), rtol=0, atol=1e-4
    )


@pytest.mark.slow
def test_aligned_is_exact_for_every_size():
    dense = Dense(MAESTER, precision="32")
    for length in range(80, 401):
        space = (length, 1)
        np.testing.assert_allclose(
            looked_at(dense, space), coordinates(Box.of(space)), rtol=0, atol=1e-4
        )


@pytest.mark.parametrize("space", [(80, 80), (37, 101)])
def test_official_is_displaced_by_minus_2_plus_3(space):
    found = looked_at(Dense(MAESTER, compat="official", precision="32"), space)
    rows, columns = found - coordinates(Box.of(space))
    filled = found.any(axis=0)
    assert np.abs(rows[filled] + 2).max() < 1e-4
    assert np.abs(columns[filled] - 3).max() < 1e-4


@pytest.mark.parametrize("space", [(80, 80), (83, 41), (3, 12), (200, 301)])
def test_draft_interpolates_between_patches(space):
    found = looked_at(Dense(MAESTER, quality="draft", precision="32"), space)
    last = [5 * -(-length // 5) - 3 for length in space]
    for axis, (got, wanted) in enumerate(zip(found, coordinates(Box.of(space)), strict=True)):
        np.testing.assert_allclose(got, wanted.clip(2, max(2, last[axis])), rtol=0, atol=1e-4)


@pytest.mark.parametrize("quality", ["exact", "draft"])
def test_three_axes(quality):
    dense = Dense(Where((1, 3, 3), (4, 6, 6)), quality=quality, precision="32")
    space = (7, 19, 10)
    found = looked_at(dense, space)
    wanted = coordinates(Box.of(space))
    if quality == "draft":
        wanted[1:] = wanted[1:].clip(1, np.array([19, 10])[:, None, None, None])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_a_network_of_two_axes_sees_the_sections_of_a_volume():
    dense = Dense(MAESTER, precision="32")
    sections = Dense(Where((1, 5, 5), (1, 16, 16)), precision="32")
    space = (3, 24, 31)
    whole = looked_at(sections, space)
    assert np.array_equal(whole.round(3), coordinates(Box.of(space)))

    def read(box):
        return coordinates(box)[1:]

    found = looked_at(dense, space, read)
    assert np.array_equal(found.round(3), coordinates(Box.of(space))[1:])


def small(ndim=2, in_channels=1):
    torch.manual_seed(0)
    patch, image = ((3, 3), (18, 18)) if ndim == 2 else ((2, 3, 3), (8, 12, 12))
    return ViT(ndim, in_channels, image=image, patch=patch, dim=24, depth=2, heads=2).eval()


@pytest.mark.parametrize(("ndim", "space"), [(2, (17, 26)), (3, (5, 9, 11)), (2, (1, 1))])
def test_equal_to_one_window_at_a_time(ndim, space):
    backbone = small(ndim)
    image = np.random.default_rng(0).random((1, *space), dtype=np.float32)
    found = features(Dense(backbone, precision="32"), image)
    read = pad_reads(lambda box: image[:, *box.slices], space, mode="reflect")
    rng = np.random.default_rng(1)
    for _ in range(6):
        voxel = tuple(int(rng.integers(n)) for n in space)
        tokens = [g // 4 or 1 for g in backbone.grid]
        tokens = [c + (g - c) % 2 for c, g in zip(tokens, backbone.grid, strict=True)]
        start, number = [], []
        for x, p, g, c in zip(voxel, backbone.patch, backbone.grid, tokens, strict=True):
            inner = x % (c * p) // p
            start.append(x - p // 2 - ((g - c) // 2 + inner) * p)
            number.append((g - c) // 2 + inner)
        size = [p * g for p, g in zip(backbone.patch, backbone.grid, strict=True)]
        box = Box(tuple(start), tuple(a + n for a, n in zip(start, size, strict=True)))
        with torch.inference_mode():
            encoded = backbone.encode(backbone.embed(torch.from_numpy(read(box))[None]).values)
        wanted = encoded[0, 1:].unflatten(0, backbone.grid)[tuple(number)]
        np.testing.assert_allclose(found[:, *voxel], wanted, atol=1e-5)


def test_blocks_do_not_show(monkeypatch):
    image = np.random.default_rng(0).random((1, 50, 43), dtype=np.float32)
    for quality in ("exact", "draft"):
        dense = Dense(small(), quality=quality, precision="32")
        monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 1 << 25)
        assert len(dense.blocks((50, 43))) == 1
        whole = features(dense, image)
        monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 24 * 100)
        assert len(dense.blocks((50, 43))) > 4
        np.testing.assert_allclose(features(dense, image), whole, atol=1e-5)


@pytest.mark.parametrize("quality", ["exact", "fast", "draft"])
def test_single_windows_give_some_of_the_vectors(quality):
    dense = Dense(MAESTER, quality=quality, precision="32")
    space = (3, 47, 61)
    count = dense.windows(space)
    whole = dense.compute_windows(lambda box: coordinates(box)[1:], space, np.arange(count))
    if quality != "draft":
        wanted = coordinates(Box.of(space))[1:].reshape(2, -1).T
        assert len(whole) == len(wanted)
        assert set(map(tuple, whole.round())) == set(map(tuple, wanted))
    part = dense.compute_windows(lambda box: coordinates(box)[1:], space, np.array([0, count - 1]))
    assert np.array_equal(part[0], whole[0])
    assert np.array_equal(part[-1], whole[-1])
    assert len(dense.compute_windows(coordinates, space, np.zeros(0, np.int64))) == 0


def test_half_precision_is_close():
    image = np.random.default_rng(0).random((1, 20, 20), dtype=np.float32)
    full = features(Dense(small(), precision="32"), image)
    half = features(Dense(small(), precision="bf16"), image)
    cosine = (full * half).sum(0) / np.linalg.norm(full, axis=0) / np.linalg.norm(half, axis=0)
    assert cosine.min() > 0.999
    assert half.dtype == np.float32


@pytest.mark.parametrize("space", [(7,), (1,), (4, 3), (2, 1, 5)])
def test_reflection_is_that_of_numpy(space):
    image = np.random.default_rng(0).random((2, *space))
    read = pad_reads(lambda box: image[:, *box.slices], space, mode="reflect")
    box = Box.of(space).grow((11,) * len(space))
    wanted = np.pad(image, [(0, 0), *((11, 11) for _ in space)], mode="reflect")
    assert np.array_equal(read(box), wanted)
    zero = pad_reads(lambda box: image[:, *box.slices], space, mode="zero")
    assert np.array_equal(zero(box), np.pad(image, [(0, 0), *((11, 11) for _ in space)]))


@pytest.mark.parametrize("quality", ["exact", "draft"])
@pytest.mark.parametrize("space", [(3, 41, 52), (1, 7, 30)])
def test_a_surround_is_a_mean_of_vectors(quality, space, monkeypatch):
    """Against scipy; beyond the border there is nothing to be counted."""
    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 4 * 350)
    plain = Dense(MAESTER, quality=quality, precision="32")
    dense = Dense(MAESTER, quality=quality, precision="32", neighborhood=4.0)
    assert dense.dim == 4
    first = looked_at(plain, space, lambda box: coordinates(box)[1:])
    found = looked_at(dense, space, lambda box: coordinates(box)[1:])
    np.testing.assert_allclose(found[:2], first, atol=1e-3)
    sigma = {"sigma": (0, 0, 4, 4), "truncate": 3.0, "mode": "constant"}
    wanted = gaussian_filter(first, **sigma) / gaussian_filter(np.ones_like(first), **sigma)
    far = 0.02 if quality == "exact" else 3.0  # draft: means of places that are 5 apart
    assert np.abs(found[2:] / 2 - wanted).max() < far


def test_a_surround_does_not_show_blocks(monkeypatch):
    image = np.random.default_rng(0).random((1, 50, 43), dtype=np.float32)
    for quality in ("fast", "draft"):
        dense = Dense(small(), quality=quality, precision="32", neighborhood=3.0)
        monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 1 << 25)
        whole = features(dense, image)
        monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 48 * 200)
        assert len(dense.blocks((50, 43))) > 4
        np.testing.assert_allclose(features(dense, image), whole, atol=1e-5)


def test_single_windows_know_their_neighborhood():
    image = np.random.default_rng(0).random((1, 60, 60), dtype=np.float32)
    dense = Dense(small(), quality="draft", precision="32", neighborhood=2.0)
    read = pad_reads(lambda box: image[:, *box.slices], (60, 60), mode="reflect")
    some = dense.compute_windows(read, (60, 60), np.arange(dense.windows((60, 60))))
    whole = features(dense, image)
    assert some.shape[1] == whole.shape[0] == dense.dim
    half = dense.dim // 2
    for part in (slice(0, half), slice(half, None)):
        assert some[:, part].std() == pytest.approx(whole[part].std(), rel=0.15)


@pytest.mark.parametrize("ndim", [2, 3])
def test_turned_vectors_turn_with_the_image(ndim):
    """One window is the whole image, so that nothing but the network depends on direction."""
    backbone = small(ndim)
    space = tuple(n * p for n, p in zip(backbone.grid, backbone.patch, strict=True))
    image = np.random.default_rng(0).random((1, *space), dtype=np.float32)
    turned = np.rot90(image, axes=(-2, -1))
    for turns in (True, False):
        dense = Dense(
            backbone, quality="draft", precision="32", center=max(backbone.grid), rotations=turns
        )
        found = np.rot90(features(dense, image), axes=(-2, -1))
        alike = np.allclose(features(dense, np.ascontiguousarray(turned)), found, atol=1e-4)
        assert alike == turns


def test_wrong_requests():
    with pytest.raises(RecipeError, match="as high as wide for rotations"):
        Dense(ViT(2, 1, image=(12, 18), patch=3, dim=24, depth=1, heads=2), rotations=True)
    with pytest.raises(RecipeError, match="rotations True"):
        Dense(small(), compat="official", rotations=True)
    with pytest.raises(RecipeError, match="neighborhood of 0 to 256 voxels, found -1"):
        Dense(small(), neighborhood=-1.0)
    with pytest.raises(RecipeError, match="released program has neither"):
        Dense(small(), compat="official", neighborhood=3.0)
    with pytest.raises(RecipeError, match="patch tokens"):
        Dense(ResUNet(2, 1, width=4, depth=2))
    with pytest.raises(RecipeError, match="quality"):
        Dense(small(), quality="best")
    with pytest.raises(RecipeError, match="no draft"):
        Dense(small(), quality="draft", compat="official")
    with pytest.raises(DataError, match="at least 3 axes"):
        features(Dense(small(3)), np.zeros((1, 9, 9), np.float32))
