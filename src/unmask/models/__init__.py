"""Networks: backbones give features, decoders bring them to the size of the image."""

from unmask.models.decoder_unet import UNetDecoder
from unmask.models.resunet import ResUNet

BACKBONES = {"resunet": ResUNet}
DECODERS = {"unet": UNetDecoder}

__all__ = ["BACKBONES", "DECODERS", "ResUNet", "UNetDecoder"]
