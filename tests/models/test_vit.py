"""Which blocks of a transformer give features, and sizes that are no whole patches."""

import pytest
import torch

from unmask.models.decoder_unetr import UnetrDecoder
from unmask.models.vit import ViT


@pytest.mark.parametrize(
    ("depth", "taps"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (4, (1, 2, 3, 4)),
        (8, (2, 4, 6, 8)),
        (12, (4, 7, 10, 12)),
        (24, (8, 14, 20, 24)),
    ],
)
def test_taps_are_those_of_unetr(depth, taps):
    vit = ViT(2, 1, image=8, patch=4, dim=8, depth=depth, heads=2)
    assert vit.taps == taps
    assert len(vit.channels) == len(vit.strides) == len(taps) + 1


def test_features_are_outputs_of_blocks_and_the_last_one_is_normed():
    torch.manual_seed(0)
    vit = ViT(3, 1, image=8, patch=4, dim=12, depth=12, heads=2)
    image = torch.randn(1, 1, 8, 8, 8)
    features = vit(image)
    hidden = torch.cat([vit.cls_token + vit.pos_embed[:, :1], vit.embed(image).values], dim=1)
    seen = []
    for block in vit.blocks:
        hidden = block(hidden)
        seen.append(hidden)
    expected = [*(seen[number - 1] for number in (4, 7, 10)), vit.norm(seen[-1])]
    assert torch.equal(features[0], image)
    for feature, tokens in zip(features[1:], expected, strict=True):
        assert torch.equal(feature.flatten(2).transpose(1, 2), tokens[:, 1:])


def test_tap_0_is_before_the_first_block():
    vit = ViT(2, 1, image=8, patch=4, dim=12, depth=2, heads=2, taps=[0, 2])
    image = torch.randn(1, 1, 8, 12)
    features = vit(image)
    tokens = vit.embed(image).values.transpose(1, 2)
    assert len(vit.channels) == len(features) == 3
    assert torch.equal(features[1].flatten(2), tokens)
    with pytest.raises(ValueError, match="from 0 to 2 that end with 2"):
        ViT(2, 1, image=8, patch=4, dim=12, depth=2, heads=2, taps=[0, 1])


@pytest.mark.parametrize("size", [(224, 120, 50), (17, 32, 1)])
def test_grids_that_are_no_whole_patches_are_padded_and_cropped_back(size):
    """As 224 x 224 x 120 with patches of 16; what is padded does not move what is inside."""
    size = tuple(n // 4 + 1 for n in size)
    vit = ViT(3, 1, image=size, patch=4, dim=12, depth=4, heads=2)
    decoder = UnetrDecoder(3, vit.channels, vit.strides, width=4)
    features = vit(torch.randn(1, 1, *size))
    assert features[1].shape[2:] == vit.grid == tuple(-(-n // 4) for n in size)
    assert decoder(features, size).shape == (1, 4, *size)
