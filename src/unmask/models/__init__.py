"""Networks: backbones give features, decoders bring them to the size of the image, heads map them
to the channels of a task.
"""

from unmask.models.decoder_linear import LinearDecoder
from unmask.models.decoder_unet import UNetDecoder
from unmask.models.decoder_unetr import UnetrDecoder
from unmask.models.heads import BranchHead, linear
from unmask.models.resunet import ResUNet
from unmask.models.vit import ViT

BACKBONES = {"resunet": ResUNet, "vit": ViT}
DECODERS = {"linear": LinearDecoder, "unet": UNetDecoder, "unetr": UnetrDecoder}
HEADS = {"branches": BranchHead, "linear": linear}

__all__ = [
    "BACKBONES",
    "DECODERS",
    "HEADS",
    "BranchHead",
    "LinearDecoder",
    "ResUNet",
    "UNetDecoder",
    "UnetrDecoder",
    "ViT",
]
