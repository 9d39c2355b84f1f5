"""Intensities: what each part does, for any number of axes, and what none of them may do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.data import AUGMENTATIONS
from unmask.data.augment.apply import Augmentation, LabeledAugmentation
from unmask.data.augment.intensity import (
    Brightness,
    ChannelMix,
    ChannelShuffle,
    Contrast,
    Gamma,
    Gray,
    HistogramShift,
    Invert,
    ObjectIntensity,
)
from unmask.errors import RecipeError
from unmask.space.random import generator

# Tested alone: they move voxels, look at labels, or mix samples.
OTHERS = {"spatial", "zoom", "object_intensity", "copy_paste"}
NAMES = [name for name in AUGMENTATIONS if name not in OTHERS]
SHAPES = [(1, 17), (3, 12, 15), (2, 6, 7, 9), (1, 1, 1), (2, 3, 1, 2, 4)]


def once(part, images, seed=0):
    params = [
        part.draw(generator(seed, "draw", b), images.shape[1:]) for b in range(images.shape[0])
    ]
    return part.apply(images, params)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_contract(name, shape):
    part = AUGMENTATIONS[name](p=1.0)
    assert isinstance(part, Augmentation)
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1)) * 3 - 1
    kept = images.clone()
    result = once(part, images)
    assert result.shape == images.shape
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()
    assert torch.equal(images, kept)
    assert torch.equal(result, once(part, images))
    # A sample's result does not depend on its batch.
    params = [part.draw(generator(0, "draw", b), shape) for b in range(3)]
    for b in range(3):
        alone = part.apply(images[b : b + 1], params[b : b + 1])
        torch.testing.assert_close(alone, result[b : b + 1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_only_drawn_samples_change(name):
    part = AUGMENTATIONS[name](p=1.0)
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    params = [part.draw(generator(3, "draw", b), (3, 16, 16)) for b in range(3)]
    params[1] = None
    result = part.apply(images, params)
    assert torch.equal(result[1], images[1])
    assert not torch.equal(result[[0, 2]], images[[0, 2]])
    assert AUGMENTATIONS[name](p=0.0).draw(generator(0, "draw"), (3, 16, 16)) is None


@pytest.mark.parametrize("name", NAMES)
def test_share_of_samples(name):
    part = AUGMENTATIONS[name](p=0.3)
    rng = generator(4, "draw")
    drawn = [part.draw(rng, (2, 8, 8)) is not None for _ in range(500)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.07)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e6])
def test_constant_images_stay_defined(name, value):
    result = once(AUGMENTATIONS[name](p=1.0), torch.full((2, 2, 9, 9), value))
    assert torch.isfinite(result).all()
    if name not in {"noise", "brightness"}:
        torch.testing.assert_close(result, torch.full((2, 2, 9, 9), value), rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.integers(0, 10**6), st.floats(1e-3, 1e4), st.floats(-1e4, 1e4))
def test_no_range_of_values_breaks_a_part(name, seed, size, offset):
    rng = generator(seed, "values")
    values = rng.standard_normal((1, 2, 7, 8), dtype=np.float32) * size + offset
    result = once(AUGMENTATIONS[name](p=1.0), torch.from_numpy(values.astype(np.float32)), seed)
    assert torch.isfinite(result).all()


def ramp():
    return torch.linspace(0, 1, 101).reshape(1, 1, 101)


def test_gamma_is_the_power_within_the_range():
    part = Gamma((2.0, 2.0), p=1)
    torch.testing.assert_close(once(part, ramp()), ramp() ** 2)
    shifted = once(part, ramp() * 4 - 2)
    torch.testing.assert_close(shifted, ramp() ** 2 * 4 - 2, atol=1e-6, rtol=1e-6)


def test_contrast_and_brightness_move_deviation_and_mean():
    images = torch.rand(2, 2, 20, 20)
    stretched = once(Contrast((2.0, 2.0), p=1), images)
    torch.testing.assert_close(stretched.mean((1, 2, 3)), images.mean((1, 2, 3)))
    torch.testing.assert_close(stretched.std((1, 2, 3)), 2 * images.std((1, 2, 3)))
    torch.testing.assert_close(once(Brightness((0.5, 0.5), p=1), images), images + 0.5)


def test_histogram_shift_rises_and_keeps_the_ends():
    values = ramp() * 5 - 1
    result = once(HistogramShift(points=4, strength=0.45, p=1), values)[0, 0]
    assert (result.diff() > 0).all()
    assert result[0].item() == pytest.approx(-1, abs=1e-5)
    assert result[-1].item() == pytest.approx(4, abs=1e-5)
    assert (result - values[0, 0]).abs().max() > 0.05


def test_histogram_shift_is_the_curve_through_its_knots():
    part = HistogramShift(points=2, p=1)
    heights = part.draw(generator(5, "draw"), (1, 101))
    assert heights is not None
    wanted = np.interp(ramp().numpy().ravel(), np.linspace(0, 1, 4), heights)
    np.testing.assert_allclose(part.apply(ramp(), [heights])[0, 0].numpy(), wanted, atol=1e-6)


def test_invert_twice_is_nothing():
    images = torch.rand(2, 1, 9, 9) * 7 - 2
    result = once(Invert(p=1), images)
    torch.testing.assert_close(once(Invert(p=1), result), images)
    for before, after in zip(images, result, strict=True):
        assert after.argmax() == before.argmin()
        torch.testing.assert_close(before + after, (before.min() + before.max()).expand(1, 9, 9))


def test_channel_parts():
    images = torch.rand(4, 3, 5, 6, 7)
    shuffled = once(ChannelShuffle(p=1), images)
    torch.testing.assert_close(shuffled.sort(dim=1).values, images.sort(dim=1).values)
    gray = once(Gray(p=1), images)
    assert torch.equal(gray[:, 0], gray[:, 1])
    assert torch.equal(gray[:, 0], gray[:, 2])
    assert gray.min() >= images.min()
    assert gray.max() <= images.max()
    white = torch.ones(4, 3, 5, 5)
    torch.testing.assert_close(once(ChannelMix(p=1), white), white)
    mixed = once(ChannelMix(strength=0.1, p=1), images)
    assert 0 < (mixed - images).abs().max() < 0.4


@pytest.mark.parametrize("shape", [(30,), (20, 20), (6, 10, 10)])
def test_objects_change_one_by_one(shape):
    part = ObjectIntensity(share=0.5, factor=(1.5, 2.0), p=1)
    assert isinstance(part, LabeledAugmentation)
    assert not isinstance(part, Augmentation)
    labels = torch.arange(int(np.prod(shape))).reshape(1, *shape) // 3 + 2**40
    labels[0, :2], labels[0, 2:4] = 0, -1
    images = torch.ones(1, 2, *shape)
    params = [part.draw(generator(6, "draw"), (2, *shape))]
    result = part.apply_labeled(images, labels, params)
    assert torch.equal(images, torch.ones(1, 2, *shape))
    assert torch.equal(result, part.apply_labeled(images, labels, params))
    assert (result[:, :, :4] == 1).all()
    factors = {float(v) for i in labels.unique() for v in result[0, 0][labels[0] == i].unique()}
    assert len(factors) > 3
    assert all(factor == 1 or 1.5 <= factor <= 2 for factor in factors)
    assert torch.equal(part.apply_labeled(images, labels, [None]), images)
    with pytest.raises(RecipeError, match="share"):
        ObjectIntensity(share=2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gamma((0.0, 1.0)),
        lambda: Gamma(p=1.5),
        lambda: Contrast((2.0, 1.0)),
        lambda: Brightness((0.2, 0.1)),
        lambda: HistogramShift(points=0),
        lambda: HistogramShift(strength=0.5),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(RecipeError, match="expected"):
        make()


def test_gamma_is_drawn_evenly_where_asked():
    for logarithmic, middle in ((True, np.exp(np.log(4) / 2)), (False, 2.5)):
        part, rng = Gamma((1.0, 4.0), logarithmic=logarithmic, p=1), generator(8, "draw")
        drawn = np.array([part.draw(rng, (1, 4)) for _ in range(2000)])
        assert np.median(drawn) == pytest.approx(middle, abs=0.08)
        assert 1 <= drawn.min() < drawn.max() <= 4


def test_a_single_knot_may_move_from_end_to_end():
    part, rng = HistogramShift(points=1, strength=1.0, p=1), generator(9, "draw")
    heights = np.array([part.draw(rng, (1, 4)) for _ in range(2000)])
    assert (heights[:, [0, 2]] == [0, 1]).all()
    assert 0 <= heights[:, 1].min() < 0.01
    assert 0.99 < heights[:, 1].max() <= 1
    with pytest.raises(RecipeError, match="strength"):
        HistogramShift(points=2, strength=1.0)


def test_objects_change_together_where_asked():
    labels = torch.arange(400).reshape(1, 20, 20) // 10
    part = ObjectIntensity(share=0.4, factor=(1.2, 1.7), together=True, p=1)
    params = [part.draw(generator(6, "draw"), (1, 20, 20))]
    result = part.apply_labeled(torch.ones(1, 1, 20, 20), labels, params)
    factors = sorted(result.unique().tolist())
    assert factors[0] == 1
    assert len(factors) == 2
    assert 1.2 <= factors[1] <= 1.7
