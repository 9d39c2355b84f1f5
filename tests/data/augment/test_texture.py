"""Noise, smoothing and holes: the contract is tested with the other parts in test_intensity."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from unmask.data.augment.texture import (
    Blur,
    Cutout,
    Noise,
    Sharpen,
    gaussian,
    smooth_cpu,
    smooth_torch,
)
from unmask.errors import RecipeError
from unmask.space.random import generator


def once(part, images):
    params = [part.draw(generator(0, "draw", b), images.shape[1:]) for b in range(len(images))]
    return part.apply(images, params)


def test_noise_has_its_deviation_and_is_new_for_every_sample():
    images = torch.full((2, 1, 200, 200), 0.25)
    noise = once(Noise((0.1, 0.1), p=1), images) - images
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert abs(noise.mean().item()) < 2e-3
    assert abs(float((noise[0] * noise[1]).mean())) < 1e-3
    photon = once(Noise((0.1, 0.1), signal=1.0, p=1), images) - images
    assert photon.std().item() == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("shape", [(40,), (20, 24), (10, 11, 12)])
def test_gaussian_agrees_with_scipy(shape):
    images = torch.rand(2, 2, *shape)
    sigmas = [(0.7,) * len(shape), tuple(1.5 - 0.3 * axis for axis in range(len(shape)))]
    result = gaussian(images, sigmas)
    for b, sigma in enumerate(sigmas):
        reach = [max(1, int(np.ceil(3 * s))) for s in sigma]
        for c in range(2):
            wanted = ndimage.gaussian_filter(
                images[b, c].numpy(), sigma, mode="nearest", radius=reach
            )
            np.testing.assert_allclose(result[b, c].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 30), (2, 9, 11), (1, 5, 6, 7)])
def test_kernel_and_torch_agree(shape):
    image = torch.rand(shape)
    for axis in range(1, len(shape)):
        for sigma in (0.2, 1.0, 4.0):
            ours = smooth_cpu(image, sigma, axis)
            torch.testing.assert_close(ours, smooth_torch(image, sigma, axis))


def test_plane_only_keeps_slices_apart():
    images = torch.zeros(1, 1, 5, 11, 11)
    images[0, 0, 2, 5, 5] = 1
    for part in (Blur((1, 1), plane_only=True, p=1), Sharpen((1, 1), plane_only=True, p=1)):
        result = once(part, images)
        assert not result[0, 0, [0, 1, 3, 4]].any()
        assert result[0, 0, 2, 5, 6] != 0
    assert once(Blur((1, 1), p=1), images)[0, 0, 1, 5, 5] > 0


def test_sharpen_raises_an_edge():
    edge = torch.zeros(1, 1, 8, 20)
    edge[..., 10:] = 1
    result = once(Sharpen((1.0, 1.0), p=1), edge)
    assert result.max() > 1.1
    assert result.min() < -0.1


def test_cutout_fills_boxes_with_the_mean():
    images = torch.rand(1, 2, 40, 40)
    result = once(Cutout(count=(2, 2), size=(0.25, 0.25), p=1), images)
    changed = result != images
    assert 100 <= int(changed[0, 0].sum()) <= 200
    assert torch.equal(changed[0, 0], changed[0, 1])
    torch.testing.assert_close(result[changed], images.mean().expand(int(changed.sum())))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Noise((-0.1, 0.1)),
        lambda: Noise(signal=2.0),
        lambda: Blur((-1.0, 1.0)),
        lambda: Sharpen(sigma=0.0),
        lambda: Cutout(size=(0.5, 1.5)),
        lambda: Cutout(count=(3, 1)),
    ],
)
def test_wrong_options_are_refused(make):
    with pytest.raises(RecipeError, match="expected"):
        make()


@pytest.mark.parametrize("shape", [(1, 30), (1, 24, 20), (1, 9, 12, 10)])
def test_blur_with_a_range_of_its_own_along_the_last_axis(shape):
    part = Blur(sigma=(1.0, 2.0), sigma_last=(0.25, 0.5), p=1)
    drawn = [part.draw(generator(1, "draw", i), shape) or (0.0,) for i in range(50)]
    assert {len(sigmas) for sigmas in drawn} == {len(shape) - 1}
    assert all(0.25 <= sigmas[-1] <= 0.5 for sigmas in drawn)
    assert all(1 <= sigma <= 2 for sigmas in drawn for sigma in sigmas[:-1])
    with pytest.raises(RecipeError, match="sigma_last"):
        Blur(sigma_last=(2.0, 1.0))


def test_sharpening_of_a_smoothed_image():
    part = Sharpen(amount=(10, 30), sigma=0.5, smooth=(0.5, 1.0), p=1)
    image = torch.rand(2, 1, 20, 22)
    params = [part.draw(generator(2, "draw", i), (1, 20, 22)) for i in range(2)]
    for amount, then, first in params:
        assert 10 <= amount <= 30
        assert all(0.5 <= b <= a <= 1 for a, b in zip(first, then, strict=True))
    smooth = gaussian(image, [first for _, _, first in params])
    twice = gaussian(smooth, [then for _, then, _ in params])
    amounts = torch.tensor([amount for amount, _, _ in params]).reshape(2, 1, 1, 1)
    wanted = smooth + amounts * (smooth - twice)
    torch.testing.assert_close(part.apply(image, params), wanted, atol=1e-5, rtol=1e-5)
    flat = part.draw(generator(2, "draw"), (1, 5, 20, 22))
    assert flat is not None
    thick = Sharpen(smooth=(1.0, 2.0), plane_only=True, p=1).draw(generator(2, "a"), (1, 5, 9, 9))
    assert thick is not None
    assert thick[1][0] == thick[2][0] == 0
    with pytest.raises(RecipeError, match="smooth"):
        Sharpen(sigma=1.0, smooth=(0.5, 1.0))
