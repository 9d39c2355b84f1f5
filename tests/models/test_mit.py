"""Mix transformer: sizes, any number of axes, odd images, drop-path."""

from typing import Any

import pytest
import torch

from unmask.errors import RecipeError
from unmask.lookup import Choice, build
from unmask.models import BACKBONES, MixTransformer
from unmask.models.mit import SIZES, MixBlock, ReducedAttention, drop_path

SMALL: dict[str, Any] = {"dims": [8, 12], "depths": [1, 2], "heads": [1, 2]}
# Millions of parameters of table 6 (encoder only).
PUBLISHED = {"b0": 3.4, "b1": 13.1, "b2": 24.2, "b3": 44.0, "b4": 60.8, "b5": 81.4}


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes(size):
    with torch.device("meta"):
        encoder = MixTransformer(2, 3, size=size)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert count / 1e6 == pytest.approx(PUBLISHED[size], abs=0.15)
    assert encoder.strides == tuple((n, n) for n in (4, 8, 16, 32))


@pytest.mark.parametrize("batch", [1, 2])
def test_maps_keep_channels_last(batch):
    # Channels first in disguise make depthwise convolutions ten times as slow
    for feature in MixTransformer(2, 3, **SMALL)(torch.randn(batch, 3, 32, 32)):
        assert feature.movedim(1, -1).is_contiguous()


def test_anisotropic_volumes_keep_their_fine_axis():
    strides = [[1, 2, 2], [1, 4, 4]]
    encoder = MixTransformer(3, 1, **SMALL, strides=strides)
    fine, coarse = encoder(torch.randn(1, 1, 3, 8, 8))
    assert fine.shape[2:] == (3, 4, 4)
    assert coarse.shape[2:] == (3, 2, 2)


def test_attention_equals_its_definition():
    torch.manual_seed(0)
    layer = ReducedAttention(2, 8, 2, (2, 2))
    tokens = torch.randn(1, 24, 8)
    image = tokens.transpose(1, 2).unflatten(2, (4, 6))
    assert layer.sr is not None
    assert layer.norm is not None
    coarse = layer.norm(layer.sr(image).flatten(2).transpose(1, 2))
    k, v = layer.kv(coarse).chunk(2, dim=2)
    mixed = []
    for head in (slice(0, 4), slice(4, 8)):
        weight = layer.q(tokens)[..., head] @ k[..., head].transpose(1, 2) / 2
        mixed.append(weight.softmax(dim=2) @ v[..., head])
    torch.testing.assert_close(layer(tokens, (4, 6)), layer.proj(torch.cat(mixed, dim=2)))


def test_drop_path_keeps_the_mean_and_skips_whole_samples():
    torch.manual_seed(0)
    change = drop_path(torch.ones(4000, 3, 2), 0.25)
    assert set(change[:, 0, 0].tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert (change == change[:, :1, :1]).all()
    assert change.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop_path(change, 0.0), change)


def test_drop_path_grows_with_depth_and_rests_in_evaluation():
    encoder = MixTransformer(2, 3, **SMALL, drop_path=0.5)
    rates = [part.drop_path for part in encoder.modules() if isinstance(part, MixBlock)]
    assert rates == [0.0, 0.25, 0.5]
    image = torch.randn(2, 3, 16, 16)
    torch.manual_seed(0)
    drawn = [encoder(image)[-1] for _ in range(8)]
    assert any(not torch.equal(drawn[0], other) for other in drawn)
    encoder.eval()
    assert torch.equal(encoder(image)[-1], encoder(image)[-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "b6"}, "b0, b1"),
        ({"dims": [8, 16], "depths": [1, 1]}, "4 heads"),
        ({**SMALL, "heads": [3, 1]}, "divisor of dims=8"),
        ({**SMALL, "strides": [[4, 4], [6, 6]]}, "multiple"),
    ],
)
def test_wrong_options_are_explained(options, words):
    with pytest.raises(RecipeError, match=f"mit.*{words}"):
        build(Choice("mit", options), BACKBONES, "model.backbone", ndim=2, in_channels=3)
