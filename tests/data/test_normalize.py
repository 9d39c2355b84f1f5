"""Measuring and applying: ranges, types, degenerate images."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.data import NORMALIZERS
from unmask.data.normalize import (
    Mediar,
    MinMax,
    NoNormalize,
    Normalizer,
    Percentile,
    Window,
    ZScore,
    count_undefined,
    extremes,
    percentiles,
)
from unmask.data.percentiles import interpolate
from unmask.errors import DataError, RecipeError

ALL = [Percentile(), Percentile(per_channel=True, nonzero=True), MinMax(), ZScore(), Window(0, 9)]
TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32, np.float32, np.float64, bool]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(1, 30), (3, 20, 21), (2, 5, 6, 7)])
def test_percentiles_become_zero_and_one(kind, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 2 if kind is bool else 100, shape).astype(kind)
    low, high = percentiles(image, (5, 95))
    result = Percentile(5, 95, clip=None).measure(image).apply(image)
    assert result.dtype == np.float32
    assert result.shape == shape
    wanted = (image.astype(float) - low) / (high - low)
    np.testing.assert_allclose(result, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", TYPES)
def test_percentiles_are_nearest_ranks(kind):
    rng = np.random.default_rng(1)
    values = rng.integers(-50, 100, 1001).astype(kind)
    shares = (0, 1, 37, 50, 99.8, 100)
    ranked = np.sort(values)
    wanted = tuple(float(ranked[round(share * 10)]) for share in shares)
    assert percentiles(values, shares) == wanted


@pytest.mark.parametrize("kind", [">u2", ">i2", ">f4", ">i4"])
def test_foreign_byte_order_and_views_change_nothing(kind):
    image = np.random.default_rng(6).integers(0, 3000, (2, 40, 41)).astype(kind)
    for normalizer in ALL:
        wanted = normalizer.measure(image.astype(image.dtype.newbyteorder("="))).apply(image)
        np.testing.assert_array_equal(normalizer.measure(image).apply(image), wanted)
        turned = np.asfortranarray(image)[:, ::-1]
        assert normalizer.measure(turned) == normalizer.measure(turned.copy())


def test_percentiles_of_large_arrays_are_close_and_repeatable():
    rng = np.random.default_rng(2)
    for kind in (np.float32, np.uint16):
        values = (rng.gamma(2.0, 800.0, (3, 1300, 1500))).astype(kind)
        found = percentiles(values, (1, 50, 99.8))
        np.testing.assert_allclose(found, np.percentile(values, (1, 50, 99.8)), rtol=0.02)
        assert found == percentiles(values.copy(), (1, 50, 99.8))


def test_nonzero_leaves_out_the_surroundings():
    image = np.zeros((1, 40, 40), np.int16)
    image[0, 10:20, 10:20] = np.arange(100, 200).reshape(10, 10)
    assert percentiles(image, (0, 100), nonzero=True) == (100.0, 199.0)
    assert extremes(image, nonzero=True) == (100.0, 199.0)
    assert extremes(image) == (0.0, 199.0)
    measured = ZScore(nonzero=True).measure(image).apply(image)
    assert abs(measured[image != 0].mean()) < 1e-6
    assert abs(measured[image != 0].std() - 1) < 1e-6


def test_colors_keep_their_balance_unless_asked():
    image = np.stack([np.full((8, 8), 10.0), np.full((8, 8), 200.0)])
    image[:, 0, 0] += 5
    joint = MinMax().measure(image)
    assert joint.scale[0] == joint.scale[1]
    apart = MinMax(per_channel=True).measure(image)
    assert apart.apply(image).max(axis=(1, 2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("normalizer", ALL)
@pytest.mark.parametrize("value", [0, 3, 1e30, -7.5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (2, 4, 4)])
def test_constant_images_are_defined(normalizer, value, shape):
    image = np.full(shape, value, np.float32)
    result = normalizer.measure(image).apply(image)
    assert np.isfinite(result).all()
    if not isinstance(normalizer, Window):
        assert not result.any()


def test_few_bright_voxels_on_an_even_ground_use_the_extremes():
    image = np.full((1, 100, 100), 7, np.uint8)
    image[0, 50, 50] = 207
    result = Percentile().measure(image).apply(image)
    assert result.min() == pytest.approx(0, abs=1e-6)
    assert result.max() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("normalizer", [*ALL, NoNormalize()])
def test_undefined_values_are_left_out_and_counted(normalizer):
    rng = np.random.default_rng(3)
    clean = rng.uniform(1, 9, (2, 30, 30)).astype(np.float32)
    holed = clean.copy()
    holed[0, :2, 0] = np.nan
    holed[1, 5, 5:8] = [np.inf, -np.inf, np.nan]
    affine = normalizer.measure(holed)
    assert affine.undefined == 5
    assert normalizer.measure(clean).undefined == 0
    assert np.isfinite(affine.scale).all()
    assert np.isfinite(affine.apply(clean)).all()
    assert np.isnan(affine.apply(holed)[0, 0, 0])


def test_only_undefined_values_give_zeros():
    image = np.full((1, 4, 4), np.nan)
    for normalizer in (Percentile(), ZScore(), MinMax()):
        affine = normalizer.measure(image)
        assert affine.scale == (0.0,)
        assert affine.undefined == 16


def test_clip_bounds_hot_pixels():
    image = np.random.default_rng(4).integers(0, 200, (1, 64, 64)).astype(np.uint16)
    image[0, 0, 0] = 60000
    assert Percentile().measure(image).apply(image).max() == 4.0
    assert Percentile(clip=None).measure(image).apply(image).max() > 100


def test_window_maps_hounsfield_units():
    image = np.array([[-2000, -100, 0, 100, 3000]], np.int16)
    result = Window(-100, 100).measure(image).apply(image)
    np.testing.assert_allclose(result, [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_small_differences_of_large_values_survive():
    image = (2**30 + np.arange(16).reshape(1, 4, 4)).astype(np.int32)
    result = MinMax().measure(image).apply(image)
    np.testing.assert_allclose(result.ravel(), np.linspace(0, 1, 16), atol=1e-6)


def test_apply_leaves_its_input_and_takes_views():
    image = np.arange(48, dtype=np.float32).reshape(1, 6, 8)
    kept = image.copy()
    affine = MinMax().measure(image)
    view = affine.apply(image[:, ::2, ::-1])
    np.testing.assert_array_equal(view, affine.apply(image)[:, ::2, ::-1])
    np.testing.assert_array_equal(image, kept)
    assert view.flags.c_contiguous


def test_another_number_of_channels_is_refused():
    affine = MinMax().measure(np.zeros((3, 4, 4)))
    with pytest.raises(DataError, match="expected 3 channels"):
        affine.apply(np.zeros((1, 4, 4)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Percentile(50, 50),
        lambda: Percentile(-1, 50),
        lambda: Percentile(clip=(1, 0)),
        lambda: Window(5, 5),
        lambda: ZScore(clip=(2, 1)),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(RecipeError, match="expected"):
        make()


def test_every_registered_normalizer_keeps_the_contract():
    options = {"window": {"low": 0, "high": 255}}
    image = np.random.default_rng(5).integers(0, 255, (3, 9, 9)).astype(np.uint8)
    for name, constructor in NORMALIZERS.items():
        normalizer = constructor(**options.get(name, {}))
        assert isinstance(normalizer, Normalizer)
        assert normalizer.measure(image).apply(image[:, :4]).shape == (3, 4, 9)


@settings(max_examples=60)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.uint8, np.int16]),
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=6),
    ),
    st.sampled_from(ALL),
)
def test_any_image_gives_finite_results_where_it_is_finite(image, normalizer):
    affine = normalizer.measure(image)
    assert affine.undefined == count_undefined(image) == image.size - np.isfinite(image).sum()
    with np.errstate(over="ignore", invalid="ignore"):
        result = affine.apply(image)
    assert np.isfinite(result[np.isfinite(image)]).all()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("times", [1, 3])
def test_interpolated_percentiles_are_those_of_numpy(kind, times):
    image = np.random.default_rng(4).integers(-60, 100, (1, 31, 33)).astype(kind)
    image[0, :4] = 0
    seen = np.broadcast_to(image, (times, 31, 33))
    shares = (0, 12.3, 50, 99.5, 100)
    for nonzero in (False, True):
        values = seen[seen != 0] if nonzero else seen
        wanted = np.percentile(values.astype(np.float64), shares)
        np.testing.assert_allclose(interpolate(seen, shares, nonzero=nonzero), wanted, rtol=1e-6)
    np.testing.assert_allclose(interpolate(seen.copy(), shares), interpolate(seen, shares))


@pytest.mark.parametrize("shape", [(1, 40), (3, 20, 21), (2, 5, 6, 7)])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint32, np.float64])
def test_mediar_cuts_to_levels(shape, kind):
    image = np.random.default_rng(7).gamma(2.0, 20, shape).astype(kind)
    result = Mediar().measure(image).apply(image)
    assert result.dtype == np.float32
    assert result.min() == 0
    assert result.max() == 1
    np.testing.assert_allclose(255 * result, np.rint(255 * result), atol=1e-4)
    bounds = np.percentile(image[image != 0], (0, 99.5))
    wanted = np.clip((image - bounds[0]) / (bounds[1] - bounds[0]), 0, 1)
    assert (wanted - result).max() < 1 / 255 + 1e-6
    assert (wanted - result).min() > -1e-5


@pytest.mark.parametrize("value", [0, 3, 1e30, -7.5])
@pytest.mark.parametrize("per_channel", [False, True])
def test_mediar_gives_zeros_for_images_of_one_value(value, per_channel):
    image = np.full((3, 6, 7), value, np.float32)
    assert not Mediar(per_channel=per_channel).measure(image).apply(image).any()


def test_mediar_measures_channels_together_or_apart():
    image = np.stack([np.arange(1, 101), np.arange(1, 101) * 40]).astype(np.uint16)[:, None]
    assert Mediar().measure(image).apply(image)[0].max() < 0.03
    assert Mediar(per_channel=True).measure(image).apply(image).max((1, 2)).tolist() == [1, 1]


def test_mediar_counts_undefined_values_and_refuses_other_channels():
    image = np.ones((2, 4, 4), np.float32)
    image[0, 0, 0] = np.nan
    image[1, 1] = 5
    found = Mediar().measure(image)
    assert found.undefined == 1
    assert np.isfinite(found.apply(image[1:].repeat(2, 0))).all()
    with pytest.raises(DataError, match="expected 2 channels"):
        found.apply(image[:1])
    with pytest.raises(RecipeError, match="low < high"):
        Mediar(low=99.5, high=1)


def test_fixed_moments_of_photographs():
    normalizer = NORMALIZERS["standard"]()
    image = np.stack([np.full((4, 5), value) for value in (124, 116, 104)]).astype(np.uint8)
    found = normalizer.measure(image).apply(image)
    wanted = [(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375]
    np.testing.assert_allclose(found[:, 0, 0], wanted, rtol=1e-4)
    with pytest.raises(DataError, match=r"expected 3 channels.*found 1"):
        normalizer.measure(image[:1])
    with pytest.raises(RecipeError, match="positive deviation"):
        NORMALIZERS["standard"](mean=(0.0,), deviation=(0.0,))
