"""SparK in 2D and 3D, with every convolutional backbone: loss, gradients, pictures, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unmask import lookup
from unmask.errors import DataError, RecipeError
from unmask.lookup import Choice
from unmask.models import BACKBONES
from unmask.models.patches import grid_of, patchify
from unmask.models.sparse import Visible
from unmask.pretraining import METHODS, masks
from unmask.pretraining.spark import hidden_share
from unmask.space.batch import Batch

SMALL: dict[str, dict[str, object]] = {
    "resnet": {"width": 4, "blocks": [1, 2]},
    "resunet": {"width": 4, "depth": 3},
    "resunet_pea": {"widths": [4, 8, 12]},
    "mala": {"widths": [4, 6], "factor": 2},
    "superhuman": {"widths": [4, 6, 8]},
    "efficientnet_lite": {"blocks": [1, 1, 1]},
}
ATTENTION = {"mit": {"dims": [8, 12], "depths": [1, 1], "heads": [1, 2]}, "vit": {"patch": 4}}
SIZES = {2: (32, 48), 3: (16, 16, 32)}
CASES = [(name, ndim) for name in SMALL for ndim in SIZES]


def build(name: str, ndim: int, **options: object) -> Any:
    torch.manual_seed(0)
    choice = Choice(name, {**SMALL.get(name, {}), **ATTENTION.get(name, {})})
    given = {"ndim": ndim, "in_channels": 2}
    backbone = lookup.build(choice, BACKBONES, "backbone", **given, image=SIZES[ndim])
    return lookup.build(Choice("spark", options), METHODS, "method", backbone=backbone, **given)


def batch(ndim: int) -> Batch:
    drawn = torch.randn(2, 2, *SIZES[ndim], generator=torch.Generator().manual_seed(1))
    return Batch(drawn * 2 + 5, seed=3)


def test_every_backbone_is_tried():
    # Features of pixels have no weights that could be pre-trained.
    assert set(SMALL) | set(ATTENTION) == set(BACKBONES) - {"pixels"}


@pytest.mark.parametrize(("name", "ndim"), CASES)
class TestEveryBackbone:
    def test_all_of_it_learns(self, name, ndim):
        method = build(name, ndim)
        method.step(batch(ndim)).loss.backward()
        still = [
            key
            for key, parameter in method.named_parameters()
            if parameter.grad is None or not parameter.grad.abs().sum() > 0
        ]
        assert not still

    def test_all_visible_is_the_dense_form(self, name, ndim):
        method, image = build(name, ndim).eval(), batch(ndim).image
        visible = Visible(torch.ones(2, 1, *grid_of(SIZES[ndim], method.patch)))
        sparse = method.decoder.join(
            method.densify(method.encode(image, visible), visible), SIZES[ndim]
        )
        dense = method.decoder(method.backbone(image), SIZES[ndim])
        torch.testing.assert_close(sparse, dense, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("norm_target", [True, False])
    def test_loss_is_that_of_hidden_patches_only(self, name, ndim, norm_target):
        method, image = build(name, ndim, norm_target=norm_target).eval(), batch(ndim).image
        mask = masks.draw(2, grid_of(SIZES[ndim], method.patch), ratio=0.5, seed=1)
        found = patchify(method.predict(image, mask), method.patch)
        wanted = patchify(image, method.patch)
        total = []
        for sample, hidden in enumerate(mask.drop.tolist()):
            for place in hidden:
                target = wanted[sample, place]
                if norm_target:
                    target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                total.append((found[sample, place] - target).square().mean())
        expected = torch.stack(total).mean()
        torch.testing.assert_close(method.masked_loss(image, mask), expected)

    def test_pictures_show_what_was_visible(self, name, ndim):
        method, images = build(name, ndim), batch(ndim)
        pictures = method.reconstruct(images)
        torch.testing.assert_close(pictures["original"], images.image)
        same = pictures["masked"] == images.image
        assert same.float().mean() == pytest.approx(0.4, abs=0.11)
        assert torch.equal(pictures["rebuilt"][same], images.image[same])
        assert not torch.equal(pictures["rebuilt"], pictures["masked"])


@pytest.mark.parametrize("ndim", [2, 3])
def test_broken_patches_are_refused(ndim):
    size = tuple(n + 1 for n in SIZES[ndim])
    with pytest.raises(DataError, match="whole patches"):
        build("resunet", ndim).step(Batch(torch.randn(1, 2, *size)))


@pytest.mark.parametrize("name", ATTENTION)
def test_backbones_with_attention_are_refused(name):
    with pytest.raises(RecipeError, match="resunet"):
        build(name, 2)


@pytest.mark.parametrize(
    ("options", "words"), [({"mask_ratio": 1.0}, "mask_ratio"), ({"decoder_top": 3}, "top=3")]
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises((RecipeError, ValueError), match=words):
        build("resunet", 2, **options)


@pytest.mark.parametrize(("patches", "hidden"), [(49, 29), (16, 10), (5, 3)])
def test_the_published_number_of_hidden_patches(patches, hidden):
    drawn = masks.draw(3, (patches,), ratio=hidden_share(patches, 0.6), seed=0)
    assert drawn.drop.shape == (3, hidden)
