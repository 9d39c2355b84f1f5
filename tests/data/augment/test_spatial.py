"""Geometry: labels move with the image, ids stay exact, turns are exact, what is read suffices."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.data import warp as warping
from unmask.data.augment.spatial import Spatial
from unmask.data.warp import Warp, center, resample_cpu, resample_torch, rotate_and_flip
from unmask.errors import RecipeError
from unmask.space.random import generator

CROPS = [(40,), (24, 31), (9, 16, 20), (5, 6, 4, 7)]
FULL = Spatial(
    rotate=180, zoom=(0.7, 1.4), scale=0.2, shear=0.2, elastic=3, elastic_grid=12,
    p_rotate=1, p_zoom=1, p_shear=1, p_elastic=1,
)  # fmt: skip


def warped(image, labels, warp, crop, *, by=resample_cpu):
    """One sample through one of the two implementations, into new tensors."""
    result = torch.full((len(image), *crop), torch.nan)
    moved = None if labels is None else torch.full(crop, -1)
    by(image, labels, warp, into=(result, moved))
    return result, moved


def smooth(shape):
    """A field that varies slowly, so that interpolation is nearly exact."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in shape), indexing="ij")
    return torch.stack([torch.sin(0.05 * (k + 1) * axis) for k, axis in enumerate(axes)]).sum(0)


@pytest.mark.parametrize("crop", CROPS)
def test_kernel_and_torch_agree(crop):
    rng = generator(0, "test", len(crop))
    for _ in range(3):
        warp = FULL.draw(rng, (2, *crop))
        image = torch.rand(2, *FULL.read_shape(crop))
        labels = torch.randint(0, 2**40, image.shape[1:])
        ours, ids = warped(image, labels, warp, crop)
        reference, reference_ids = warped(image, labels, warp, crop, by=resample_torch)
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=0)
        assert ids is not None
        assert reference_ids is not None
        assert (ids == reference_ids).float().mean() > 0.999
        none, no_ids = warped(image, None, warp, crop)
        assert no_ids is None
        assert torch.equal(none, ours)


@pytest.mark.parametrize("crop", CROPS)
def test_devices_without_float64_come_close(crop, monkeypatch):
    assert warping._find_exact(torch.device("mps")) == torch.float32
    warp = FULL.draw(generator(0, "test", len(crop)), (1, *crop))
    image = torch.rand(1, *FULL.read_shape(crop))
    exact, _ = warped(image, None, warp, crop, by=resample_torch)
    monkeypatch.setattr(warping, "_find_exact", lambda device: torch.float32)
    close, _ = warped(image, None, warp, crop, by=resample_torch)
    torch.testing.assert_close(close, exact, atol=1e-3, rtol=0)
    assert not torch.equal(close, exact)


@pytest.mark.parametrize("crop", CROPS)
def test_labels_move_with_the_image(crop):
    rng = generator(1, "test", len(crop))
    read = FULL.read_shape(crop)
    corner = tuple(slice(0, n // 2) for n in read)
    labels = torch.zeros(read, dtype=torch.int64)
    labels[corner] = 1
    for _ in range(4):
        warp = FULL.draw(rng, (1, *crop))
        images, moved = FULL.resample(labels[None, None].float(), labels[None], [warp], crop=crop)
        assert moved is not None
        sure = (images[0, 0] - 0.5).abs() > 0.499
        assert torch.equal(moved[0][sure], (images[0, 0][sure] > 0.5).long())
        assert sure.float().mean() > 0.3


@pytest.mark.parametrize("crop", CROPS)
def test_ids_are_exact(crop):
    rng = generator(2, "test")
    read = FULL.read_shape(crop)
    labels = torch.from_numpy(rng.integers(2**40 - 5, 2**40, (2, *read)))
    params = [FULL.draw(rng, (1, *crop)) for _ in range(2)]
    _, moved = FULL.resample(torch.zeros(2, 1, *read), labels, params, crop=crop)
    assert moved is not None
    assert moved.dtype == torch.int64
    assert set(moved.unique().tolist()) <= set(labels.unique().tolist())
    assert len(moved.unique()) > 1


@pytest.mark.parametrize("crop", [(7,), (6, 9), (4, 5, 6)])
def test_flips_and_turns_are_exact(crop):
    part = Spatial()
    read = part.read_shape(crop)
    image = torch.arange(int(np.prod(read)), dtype=torch.float32).reshape(1, 1, *read)
    rng = generator(3, "test")
    seen = set()
    for _ in range(40):
        warp = part.draw(rng, (1, *crop))
        assert warp.exact
        result, moved = part.resample(image, image[0].long(), [warp], crop=crop)
        assert moved is not None
        assert torch.equal(result[0].long(), moved)
        assert len(result.unique()) == result.numel()
        seen.add((warp.axes, warp.flips))
    assert len(seen) == {1: 2, 2: 8}.get(len(crop), len(seen))
    assert len(seen) > len(crop)


def test_turned_agrees_with_numpy():
    array = torch.arange(25).reshape(5, 5)
    warp = Warp((1, 0), (True, False))
    assert rotate_and_flip(array, warp, (5, 5)).tolist() == np.rot90(array.numpy()).tolist()
    assert rotate_and_flip(array, Warp((0, 1), (False, True)), (3, 5)).tolist() == (
        array.numpy()[1:4, ::-1].tolist()
    )


@pytest.mark.parametrize("crop", [(6, 6), (4, 5, 6)])
def test_turns_and_their_matrix_say_the_same(crop):
    part = Spatial()
    rng = generator(4, "test")
    read = part.read_shape(crop)
    # Equal parity lets the interpolation hit voxels exactly.
    image = torch.rand(1, *(n + (n - max(crop)) % 2 for n in read))
    for _ in range(10):
        warp = part.draw(rng, (1, *crop))
        source = [0] * len(crop)
        for length, axis in zip(crop, warp.axes, strict=True):
            source[axis] = length
        middle = center(image, source).contiguous()
        exact = rotate_and_flip(image, warp, crop)
        interpolated, _ = warped(middle, None, warp, crop)
        torch.testing.assert_close(exact, interpolated, atol=1e-6, rtol=0)


def test_quarter_turns_keep_handedness_without_flips():
    rng = generator(5, "test")
    for ndim in (2, 3, 4):
        for _ in range(20):
            warp = Spatial(flip=False).draw(rng, (1, *(8,) * ndim))
            assert np.linalg.det(warp.matrix()) == pytest.approx(1)


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("plane_only", [True, False])
def test_what_is_read_fills_the_crop(crop, plane_only):
    part = Spatial(
        rotate=40, zoom=(0.9, 1.2), shear=0.1, elastic=2, elastic_grid=12, p_rotate=1, p_zoom=1,
        p_shear=1, p_elastic=1, plane_only=plane_only, reach=9, rotate90=len(crop) < 4,
    )  # fmt: skip
    read = np.array(part.read_shape(crop))
    rng = generator(6, "test")
    corners = np.array(list(product(*((-(n - 1) / 2, (n - 1) / 2) for n in crop)))).T
    worst = np.zeros(len(crop))
    for _ in range(300):
        warp = part.draw(rng, (1, *crop))
        shift = part.elastic if warp.control is not None else 0
        reached = np.abs(warp.matrix() @ corners).max(axis=1)
        moving = part._moving(len(crop))
        reached[list(moving)] += shift
        worst = np.maximum(worst, reached)
    assert (worst <= (read - 1) / 2 + 1e-6).all()
    assert all((r - n) % 2 == 0 for r, n in zip(read, crop, strict=True)) or part.rotate90


def test_read_shape_is_bounded_and_minimal():
    assert Spatial().read_shape((64, 64)) == (64, 64)
    assert Spatial(rotate90=False).read_shape((64, 32)) == (64, 32)
    assert Spatial().read_shape((64, 32)) == (64, 64)
    assert Spatial(plane_only=True).read_shape((8, 64, 32)) == (8, 64, 64)
    assert Spatial(rotate=180, zoom=(0.25, 1.5)).read_shape((64, 64)) == (96, 96)
    assert Spatial(rotate=180).read_shape((65, 65)) == (93, 93)
    assert Spatial(zoom=(2.0, 3.0)).read_shape((64, 64)) == (64, 64)
    assert Spatial(rotate=90, p_rotate=0).read_shape((64, 64)) == (64, 64)


def test_plane_only_leaves_the_slow_axis():
    rng = generator(7, "test")
    part = Spatial(
        rotate=90, zoom=(0.5, 2), scale=0.2, shear=0.3, elastic=2, p_rotate=1, p_zoom=1,
        p_shear=1, p_elastic=1, plane_only=True,
    )  # fmt: skip
    for _ in range(20):
        warp = part.draw(rng, (1, 6, 20, 20))
        matrix = warp.matrix()
        assert abs(matrix[0, 0]) == 1
        assert not matrix[0, 1:].any()
        assert not matrix[1:, 0].any()
        assert warp.control is not None
        assert not warp.control[0].any()


def test_zoom_above_one_magnifies():
    image = torch.zeros(1, 1, 33, 33)
    image[..., 12:21, 12:21] = 1
    part = Spatial(flip=False, rotate90=False, zoom=(2.0, 2.0), p_zoom=1)
    warp = part.draw(generator(8, "test"), (1, 33, 33))
    result, _ = part.resample(image, None, [warp], crop=(33, 33))
    assert float(result.sum()) == pytest.approx(4 * 81, rel=0.1)


def test_smooth_fields_go_through_there_and_back():
    image = smooth((64, 64))[None]
    there = np.array([[0.9, -0.3], [0.2, 1.1]])
    once, _ = warped(image, None, Warp((0, 1), (False, False), there), (64, 64))
    back, _ = warped(once, None, Warp((0, 1), (False, False), np.linalg.inv(there)), (64, 64))
    inner = (..., slice(24, 40), slice(24, 40))
    torch.testing.assert_close(back[inner], image[inner], atol=5e-3, rtol=0)


def test_elastic_shift_stays_within_its_bound_and_varies():
    part = Spatial(flip=False, rotate90=False, elastic=4, elastic_grid=16, p_elastic=1)
    warp = part.draw(generator(9, "test"), (1, 64, 64))
    rows = torch.arange(80.0)[:, None].expand(80, 80)[None].contiguous()
    result, _ = warped(rows, None, warp, (64, 64))
    shift = result[0] - (torch.arange(64.0)[:, None] + 8)
    assert 1 < float(shift.abs().max()) <= 4
    assert float(shift.diff(dim=0).min()) > -1


def test_regions_smaller_than_the_crop_are_mirrored():
    image = torch.rand(1, 1, 3, 1)
    for part in (Spatial(), FULL):
        warp = part.draw(generator(10, "test"), (1, 8, 8))
        result, labels = part.resample(
            image, torch.ones(1, 3, 1, dtype=torch.int64), [warp], crop=(8, 8)
        )
        assert result.shape == (1, 1, 8, 8)
        assert labels is not None
        assert (labels == 1).all()
        assert torch.isin(result, image).all() or not warp.exact
        assert result.min() >= image.min() - 1e-6
        assert result.max() <= image.max() + 1e-6


def test_the_same_generator_gives_the_same_warp_and_the_input_stays():
    image = torch.rand(1, 1, 40, 40)
    kept = image.clone()
    results = []
    for _ in range(2):
        warp = FULL.draw(generator(11, "test", 5), (1, 24, 24))
        results.append(FULL.resample(image, None, [warp], crop=(24, 24))[0])
    assert torch.equal(*results)
    assert torch.equal(image, kept)
    other = FULL.draw(generator(11, "test", 6), (1, 24, 24))
    assert not torch.equal(results[0], FULL.resample(image, None, [other], crop=(24, 24))[0])


def test_shares_are_kept():
    part = Spatial(rotate=30, elastic=2, p_rotate=0.25, p_elastic=0.5)
    rng = generator(12, "test")
    warps = [part.draw(rng, (1, 8, 8)) for _ in range(600)]
    assert np.mean([w.linear is not None for w in warps]) == pytest.approx(0.25, abs=0.06)
    assert np.mean([w.control is not None for w in warps]) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    "options",
    [
        {"rotate": 200},
        {"zoom": (2, 1)},
        {"zoom": (0, 1)},
        {"scale": 1},
        {"shear": -0.1},
        {"elastic": 20, "elastic_grid": 32},
        {"reach": 0.5},
        {"p_zoom": 1.5},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        Spatial(**options)


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.lists(st.integers(1, 12), min_size=3, max_size=3),
    st.integers(0, 1000),
)
def test_any_sizes_give_the_crop_within_the_values_read(crop, read, seed):
    region = tuple(read[: len(crop)])
    image = torch.from_numpy(generator(seed, "values").random((1, 2, *region), dtype=np.float32))
    warp = FULL.draw(generator(seed, "warp"), (2, *crop))
    result, labels = FULL.resample(image, (image[:, 0] * 99).long(), [warp], crop=crop)
    assert result.shape == (1, 2, *crop)
    assert labels is not None
    assert labels.shape == (1, *crop)
    for channel in range(2):
        assert result[0, channel].min() >= image[0, channel].min() - 1e-5
        assert result[0, channel].max() <= image[0, channel].max() + 1e-5


def test_shares_of_mirrored_and_turned_samples():
    """Half mirrored along one axis, a quarter each; half turned, a sixth for every turn."""
    part, rng = Spatial(p_flip=0.5, p_rotate90=2 / 3), generator(3, "draw")
    drawn = [part.draw(rng, (1, 8, 8)) for _ in range(6000)]
    assert all(warp.exact for warp in drawn)
    image = torch.arange(4.0).reshape(1, 2, 2)
    seen = [tuple(rotate_and_flip(image, warp, (2, 2)).ravel().tolist()) for warp in drawn]
    shares = {orbit: seen.count(orbit) / len(seen) for orbit in set(seen)}
    assert len(shares) == 8
    # Alone: neither, and the half turn, which two mirrors cannot give here.
    assert shares[0, 1, 2, 3] == pytest.approx(1 / 4, abs=0.03)
    assert shares[3, 2, 1, 0] == pytest.approx(1 / 12, abs=0.02)
    assert sum(shares.values()) - max(shares.values()) == pytest.approx(3 / 4, abs=0.03)
    still = Spatial(p_flip=0.0, p_rotate90=0.0)
    assert {still.draw(rng, (1, 8, 8)).flips for _ in range(50)} == {(False, False)}
    assert Spatial().draw(generator(1, "a"), (1, 8, 8)) == Spatial(p_rotate90=1.0).draw(
        generator(1, "a"), (1, 8, 8)
    )
    with pytest.raises(RecipeError, match=r"p_flip=1\.5: expected a share between 0 and 1"):
        Spatial(p_flip=1.5)
    with pytest.raises(RecipeError, match=r"p_rotate90=-0\.1: expected a share between 0 and 1"):
        Spatial(p_rotate90=-0.1)


def test_axes_magnified_by_themselves():
    def ratios(part):
        rng = np.random.default_rng(0)
        found = [part.draw(rng, (1, 16, 16)).linear for _ in range(50)]
        return np.array([m[0, 0] / m[1, 1] for m in found if m is not None])

    alike = ratios(Spatial(zoom=(1.0, 2.0), p_zoom=1.0))
    each = ratios(Spatial(zoom=(1.0, 2.0), p_zoom=1.0, zoom_each=True))
    np.testing.assert_allclose(alike, 1.0)
    assert each.min() < 0.7
    assert each.max() > 1.4
    assert 0.5 <= each.min() <= each.max() <= 2.0
