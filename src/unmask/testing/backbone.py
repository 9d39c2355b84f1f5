"""Contract of backbones: features, fine to coarse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unmask.models import BACKBONES
from unmask.models.base import Backbone
from unmask.testing.base import Contract

SIZES = {2: [(16, 24), (13, 1), (1, 1)], 3: [(8, 8, 12), (5, 1, 9), (1, 1, 1)]}
CHANNELS = 2


def check_gradients(output: torch.Tensor, *modules: Any) -> None:
    """Every weight has a gradient; a plain sum would not see what a last norm fixes."""
    (output * torch.randn_like(output)).sum().backward()
    for module in modules:
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.abs().sum() > 0, f"{name} has a gradient of 0"


def check_bf16(output: torch.Tensor, exact: torch.Tensor) -> None:
    """bfloat16 changes the third digit, not the result."""
    assert (output.float() - exact).std() < 0.05 * exact.std()


@pytest.mark.parametrize("ndim", SIZES)
class BackboneContract(Contract):
    """Shapes, gradients, saving and bfloat16 of a backbone, in 2D and 3D, for any image size."""

    def build(self, ndim: int) -> Any:
        """The backbone."""
        return self.build_from(BACKBONES, "backbone", ndim=ndim, in_channels=CHANNELS)

    def test_protocol(self, ndim: int) -> None:
        """The members that the builder and decoders read."""
        backbone = self.build(ndim)
        assert isinstance(backbone, Backbone)
        assert (backbone.ndim, backbone.in_channels) == (ndim, CHANNELS)

    def test_shapes(self, ndim: int) -> None:
        """``channels[i]`` channels and ``ceil(size / strides[i])`` voxels per axis."""
        backbone = self.build(ndim)
        for size in SIZES[ndim]:
            features = backbone(torch.randn(2, CHANNELS, *size))
            for feature, channels, stride in zip(
                features, backbone.channels, backbone.strides, strict=True
            ):
                grid = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
                assert tuple(feature.shape) == (2, channels, *grid)

    def test_gradient_reaches_every_parameter(self, ndim: int) -> None:
        """No weight is without use."""
        backbone = self.build(ndim)
        if not any(weight.requires_grad for weight in backbone.parameters()):
            pytest.skip("no weight learns")
        features = backbone(torch.randn(2, CHANNELS, *SIZES[ndim][0]))
        check_gradients(torch.cat([feature.flatten() for feature in features]), backbone)

    def test_save_and_load_give_the_same_output(self, ndim: int) -> None:
        """The state dict holds everything that features depend on."""
        image = torch.randn(1, CHANNELS, *SIZES[ndim][0])
        backbone, other = self.build(ndim), self.build(ndim)
        other.load_state_dict(backbone.state_dict())
        for feature, again in zip(backbone(image), other(image), strict=True):
            torch.testing.assert_close(feature, again)

    def test_bf16_autocast_is_close(self, ndim: int) -> None:
        """Training on a GPU runs in bfloat16."""
        torch.manual_seed(0)
        # Of two or three voxels a norm makes little more than signs, hence larger images.
        image = torch.randn(1, CHANNELS, *(2 * n for n in SIZES[ndim][0]))
        backbone = self.build(ndim).eval()
        exact = backbone(image)
        with torch.autocast("cpu", torch.bfloat16):
            short = backbone(image)
        for feature, reference in zip(short, exact, strict=True):
            check_bf16(feature, reference)
