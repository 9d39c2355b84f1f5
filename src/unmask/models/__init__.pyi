import unmask.parts

from .decoder_linear import LinearDecoder
from .decoder_manet import ManetDecoder
from .decoder_pool import PoolDecoder
from .decoder_spark import SparkDecoder
from .decoder_unet import UNetDecoder
from .decoder_unetr import UnetrDecoder
from .efficientnet_lite import EfficientNetLite
from .heads import BranchHead, ForegroundHead
from .mala import Mala, MalaDecoder
from .mit import MixTransformer
from .resnet import ResNet
from .resunet import ResUNet
from .resunet_pea import PeaDecoder, PeaResUNet
from .superhuman import Superhuman, SuperhumanDecoder
from .vit import ViT

BACKBONES: unmask.parts.Parts
DECODERS: unmask.parts.Parts
HEADS: unmask.parts.Parts

__all__ = [
    "BACKBONES",
    "DECODERS",
    "HEADS",
    "BranchHead",
    "EfficientNetLite",
    "ForegroundHead",
    "LinearDecoder",
    "Mala",
    "MalaDecoder",
    "ManetDecoder",
    "MixTransformer",
    "PeaDecoder",
    "PeaResUNet",
    "PoolDecoder",
    "ResNet",
    "ResUNet",
    "SparkDecoder",
    "Superhuman",
    "SuperhumanDecoder",
    "UNetDecoder",
    "UnetrDecoder",
    "ViT",
]
