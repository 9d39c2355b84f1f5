"""Every backbone with every decoder that fits it, for 2 and 3 axes."""

from typing import Any

import pytest
import torch

from unmask import lookup
from unmask.lookup import Choice
from unmask.models import BACKBONES, DECODERS
from unmask.models.base import Backbone, Decoder

# Small options by name; a part that is not listed here is built with its defaults, and so is a
# decoder of the name of a backbone.
SMALL = {
    "mit": {"dims": [8, 12], "depths": [1, 2], "heads": [1, 2], "drop_path": 0.0},
    "manet": {"width": 4, "attention": 6},
    "resnet": {"width": 8, "blocks": [1, 2], "norm": "group"},
    "resunet": {"width": 4, "depth": 3},
    "resunet_pea": {"widths": [4, 8, 12]},
    "superhuman": {"widths": [4, 6, 8]},
    "vit": {"image": 16, "patch": 4, "dim": 24, "depth": 4, "heads": 2},
    "unetr": {"width": 4},
    "linear": {"width": 4},
    "spark": {"norm": "group"},
}
PAIRS = [
    ("mit", "manet"),
    ("mit", "unet"),
    ("resunet", "manet"),
    ("resnet", "spark"),
    ("resnet", "unet"),
    ("resunet", "spark"),
    ("resunet", "unet"),
    ("resunet", "linear"),
    ("resunet", "pool"),
    ("resunet_pea", "resunet_pea"),
    ("resunet_pea", "unet"),
    ("superhuman", "superhuman"),
    ("superhuman", "unet"),
    ("vit", "unetr"),
    ("vit", "linear"),
    ("vit", "pool"),
]
SIZES = {2: [(16, 24), (13, 1), (1, 1)], 3: [(8, 8, 12), (5, 1, 9), (1, 1, 1)]}
CASES = [(b, d, n) for b, d in PAIRS for n in (2, 3)]


def build(backbone: str, decoder: str, ndim: int) -> tuple[Any, Any]:
    first = lookup.build(
        Choice(backbone, SMALL.get(backbone, {})), BACKBONES, "backbone", ndim=ndim, in_channels=2
    )
    options = {} if decoder in BACKBONES else SMALL.get(decoder, {})
    second = lookup.build(
        Choice(decoder, options),
        DECODERS,
        "decoder",
        ndim=ndim,
        channels=first.channels,
        strides=first.strides,
    )
    return first, second


def test_every_part_is_covered():
    assert {backbone for backbone, _ in PAIRS} == set(BACKBONES)
    assert {decoder for _, decoder in PAIRS} == set(DECODERS)


@pytest.mark.parametrize(("backbone", "decoder", "ndim"), CASES)
class TestContract:
    def test_protocols(self, backbone, decoder, ndim):
        first, second = build(backbone, decoder, ndim)
        assert isinstance(first, Backbone)
        assert isinstance(second, Decoder)
        assert (first.ndim, first.in_channels) == (ndim, 2)

    def test_sizes(self, backbone, decoder, ndim):
        first, second = build(backbone, decoder, ndim)
        for size in SIZES[ndim]:
            features = first(torch.randn(2, 2, *size))
            for feature, c, stride in zip(features, first.channels, first.strides, strict=True):
                grid = (-(-n // s) for n, s in zip(size, stride, strict=True))
                assert tuple(feature.shape) == (2, c, *grid)
            whole = (1,) * ndim
            assert second(features, size).shape[:2] == (2, second.width)
            assert second(features, size).shape[2:] in (size, whole)

    def test_gradient_reaches_every_parameter(self, backbone, decoder, ndim):
        first, second = build(backbone, decoder, ndim)
        size = SIZES[ndim][0]
        output = second(first(torch.randn(2, 2, *size)), size)
        # a plain sum would not see what a final normalisation fixes
        (output * torch.randn_like(output)).sum().backward()
        for module in (first, second):
            for name, parameter in module.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_save_and_load_give_the_same_output(self, backbone, decoder, ndim):
        image, size = torch.randn(1, 2, *SIZES[ndim][0]), SIZES[ndim][0]
        first, second = build(backbone, decoder, ndim)
        other, another = build(backbone, decoder, ndim)
        other.load_state_dict(first.state_dict())
        another.load_state_dict(second.state_dict())
        torch.testing.assert_close(second(first(image), size), another(other(image), size))

    def test_bf16_autocast_is_close(self, backbone, decoder, ndim):
        torch.manual_seed(0)
        # of two or three voxels a normalisation makes little more than signs, hence larger images
        # and batch norms as in prediction
        size = tuple(2 * n for n in SIZES[ndim][0])
        image = torch.randn(1, 2, *size)
        first, second = (part.eval() for part in build(backbone, decoder, ndim))
        exact = second(first(image), size)
        with torch.autocast("cpu", torch.bfloat16):
            short = second(first(image), size).float()
        assert (short - exact).std() < 0.05 * exact.std()
