"""Masked autoencoder in 2D and 3D: loss against a slow definition, learning, pictures."""

import pytest
import torch

from unmask.errors import DataError, RecipeError
from unmask.models import ResUNet, ViT
from unmask.models.patches import patchify, unpatchify
from unmask.pretraining import METHODS, masks
from unmask.pretraining.base import PretrainMethod
from unmask.space.batch import Batch

SIZES = {2: (16, 24), 3: (8, 12, 8)}


def build(ndim, **options):
    backbone = ViT(ndim, 2, image=SIZES[ndim], patch=4, dim=24, depth=2, heads=2)
    return METHODS["mae"](backbone, decoder_dim=24, decoder_depth=1, decoder_heads=2, **options)


def batch(ndim, seed=3):
    return Batch(torch.randn(2, 2, *SIZES[ndim]), seed=seed)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("norm_target", [False, True])
def test_loss_equals_its_definition(ndim, norm_target):
    method, images = build(ndim, norm_target=norm_target), batch(ndim)
    mask = masks.split(torch.rand(2, 24 if ndim == 2 else 12), 0.5)
    predicted, _ = method.predict_all(images.image, mask)
    patches = patchify(images.image, (4,) * ndim)
    losses = []
    for b in range(2):
        for token in mask.drop[b].tolist():
            target = patches[b, token]
            if norm_target:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            losses.append((predicted[b, token] - target).square().mean())
    torch.testing.assert_close(method.masked_loss(images.image, mask), torch.stack(losses).mean())


@pytest.mark.parametrize("ndim", [2, 3])
class TestMethod:
    def test_contract(self, ndim):
        method: PretrainMethod = build(ndim)
        assert isinstance(method.backbone, torch.nn.Module)

    def test_seed_decides_the_mask(self, ndim):
        method, images = build(ndim), batch(ndim)
        again = Batch(images.image, seed=images.seed)
        other = Batch(images.image, seed=images.seed + 1)
        losses = [method(one).loss.item() for one in (images, again, other)]
        assert losses[0] == losses[1] != losses[2]

    def test_gradient_reaches_every_parameter(self, ndim):
        method = build(ndim)
        method.step(batch(ndim)).loss.backward()
        for name, parameter in method.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name

    def test_dropped_patches_do_not_reach_the_encoder(self, ndim):
        method, images = build(ndim), batch(ndim)
        mask = masks.draw(2, method.backbone.grid, ratio=0.5, seed=1)
        patches = patchify(images.image, (4,) * ndim)
        noise = torch.randn_like(patches).scatter(
            1, mask.keep[..., None].expand_as(patches[:, : mask.keep.shape[1]]), 0.0
        )
        changed = unpatchify(patches + noise, (4,) * ndim, method.backbone.grid)
        first, second = (method.predict(image, mask)[0] for image in (images.image, changed))
        torch.testing.assert_close(first, second)

    def test_other_sizes_interpolate_positions(self, ndim):
        size = tuple(n + 4 for n in SIZES[ndim])
        assert build(ndim).step(Batch(torch.randn(1, 2, *size))).loss.isfinite()

    def test_broken_patches_are_refused(self, ndim):
        size = tuple(n + 1 for n in SIZES[ndim])
        with pytest.raises(DataError, match="whole patches"):
            build(ndim).step(Batch(torch.randn(1, 2, *size)))

    def test_bf16_is_close(self, ndim):
        method, images = build(ndim), batch(ndim)
        exact = method.step(images).loss
        with torch.autocast("cpu", torch.bfloat16):
            short = method.step(images).loss
        assert short.dtype == torch.float32
        assert short.item() == pytest.approx(exact.item(), rel=0.02)

    def test_pictures(self, ndim):
        method, images = build(ndim, norm_target=True, mask_block=(2,) * ndim), batch(ndim)
        pictures = method.reconstruct(images)
        torch.testing.assert_close(pictures["original"], images.image)
        same = pictures["masked"] == images.image
        assert 0.2 < same.float().mean() < 0.35
        assert torch.equal(pictures["rebuilt"][same], images.image[same])

    def test_it_learns(self, ndim):
        torch.manual_seed(0)
        method, images = build(ndim, norm_target=False), batch(ndim)
        ramp = torch.linspace(-1, 1, SIZES[ndim][-1]).expand_as(images.image)
        optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
        losses = []
        for step in range(60):
            loss = method.step(Batch(ramp, seed=step)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.1 * losses[0]


def test_patches_are_undone():
    image = torch.randn(2, 3, 4, 6, 10)
    patches = patchify(image, (2, 3, 5))
    assert patches.shape == (2, 8, 90)
    assert torch.equal(patches[0, 1].view(2, 3, 5, 3), image[0, :, :2, :3, 5:].permute(1, 2, 3, 0))
    assert torch.equal(unpatchify(patches, (2, 3, 5), (2, 2, 2)), image)


def test_other_backbones_are_refused():
    with pytest.raises(RecipeError, match=r"model\.backbone=vit"):
        METHODS["mae"](ResUNet(2, 1, width=4, depth=2))


def test_a_share_of_one_is_refused():
    with pytest.raises(RecipeError, match="mask_ratio"):
        build(2, mask_ratio=1.0)
