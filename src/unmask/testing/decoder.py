"""Contract of decoders: from features to the size of the image."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from unmask.errors import RecipeError
from unmask.models import BACKBONES, DECODERS
from unmask.models.base import Decoder
from unmask.testing.backbone import CHANNELS, SIZES, check_bf16, check_gradients
from unmask.testing.base import Contract, build_part


def fits(decoder: Any, backbone: str, ndim: int = 2) -> bool:
    """Whether a decoder takes the features of a backbone.

    A decoder refuses features that it cannot use when it is built, by a `RecipeError` or a
    `ValueError`.
    """
    try:
        _pair(decoder, None, backbone, ndim)
    except RecipeError:
        return False
    return True


def usual_backbone(decoder: Any) -> str:
    """The backbone of the decoder's name, ``resunet``, or the first that the decoder takes."""
    first = [decoder] if isinstance(decoder, str) and decoder in BACKBONES else []
    for name in (*first, "resunet", *BACKBONES):
        if fits(decoder, name):
            return name
    pytest.fail("The decoder refuses the features of every backbone of unmask.")


def _pair(decoder: Any, options: Any, backbone: Any, ndim: int) -> tuple[Any, Any]:
    first = build_part(backbone, None, BACKBONES, "backbone", ndim=ndim, in_channels=CHANNELS)
    given = {"ndim": ndim, "channels": tuple(first.channels), "strides": first.strides}
    return first, build_part(decoder, options, DECODERS, "decoder", **given)


@pytest.mark.parametrize("ndim", SIZES)
class DecoderContract(Contract):
    """Shapes, gradients, saving and bfloat16 of a decoder behind a backbone, in 2D and 3D.

    Attributes:
        backbone: gives the features, named as ``part``; None: the one of the decoder's name,
            ``resunet``, or the first of unmask that the decoder takes.
    """

    backbone: ClassVar[Any] = None

    def build(self, ndim: int) -> tuple[Any, Any]:
        """A backbone and the decoder."""
        backbone = self.backbone
        if backbone is None:
            backbone = usual_backbone(self.chosen)
        return _pair(self.chosen, self.options, backbone, ndim)

    def test_protocol(self, ndim: int) -> None:
        """The members that the builder reads."""
        _, decoder = self.build(ndim)
        assert isinstance(decoder, Decoder)

    def test_shapes(self, ndim: int) -> None:
        """``width`` channels at the size of the image, or one vector for all of it."""
        backbone, decoder = self.build(ndim)
        for size in SIZES[ndim]:
            output = decoder(backbone(torch.randn(2, CHANNELS, *size)), size)
            assert output.shape[:2] == (2, decoder.width)
            assert output.shape[2:] in (size, (1,) * ndim)

    def test_gradient_reaches_every_parameter(self, ndim: int) -> None:
        """No weight of backbone or decoder is without use."""
        backbone, decoder = self.build(ndim)
        if not any(
            weight.requires_grad for part in (backbone, decoder) for weight in part.parameters()
        ):
            pytest.skip("no weight learns")
        size = SIZES[ndim][0]
        output = decoder(backbone(torch.randn(2, CHANNELS, *size)), size)
        check_gradients(output, backbone, decoder)

    def test_save_and_load_give_the_same_output(self, ndim: int) -> None:
        """The state dicts hold everything that the output depends on."""
        size = SIZES[ndim][0]
        image = torch.randn(1, CHANNELS, *size)
        pair, other = self.build(ndim), self.build(ndim)
        for module, again in zip(pair, other, strict=True):
            again.load_state_dict(module.state_dict())
        torch.testing.assert_close(pair[1](pair[0](image), size), other[1](other[0](image), size))

    def test_bf16_autocast_is_close(self, ndim: int) -> None:
        """Training on a GPU runs in bfloat16."""
        torch.manual_seed(0)
        size = tuple(2 * n for n in SIZES[ndim][0])
        image = torch.randn(1, CHANNELS, *size)
        backbone, decoder = (module.eval() for module in self.build(ndim))
        exact = decoder(backbone(image), size)
        with torch.autocast("cpu", torch.bfloat16):
            short = decoder(backbone(image), size)
        check_bf16(short, exact)
