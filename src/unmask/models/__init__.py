"""Networks: backbones give features, decoders bring them to the size of the image."""

from unmask.models.decoder_linear import LinearDecoder
from unmask.models.decoder_unet import UNetDecoder
from unmask.models.decoder_unetr import UnetrDecoder
from unmask.models.resunet import ResUNet
from unmask.models.vit import ViT

BACKBONES = {"resunet": ResUNet, "vit": ViT}
DECODERS = {"linear": LinearDecoder, "unet": UNetDecoder, "unetr": UnetrDecoder}

__all__ = [
    "BACKBONES",
    "DECODERS",
    "LinearDecoder",
    "ResUNet",
    "UNetDecoder",
    "UnetrDecoder",
    "ViT",
]
