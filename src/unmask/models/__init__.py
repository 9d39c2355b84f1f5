"""Networks: backbones give features, decoders bring them to the size of the image, heads map them
to the channels of a task.
"""

from unmask.models.decoder_linear import LinearDecoder
from unmask.models.decoder_manet import ManetDecoder
from unmask.models.decoder_pool import PoolDecoder
from unmask.models.decoder_spark import SparkDecoder
from unmask.models.decoder_unet import UNetDecoder
from unmask.models.decoder_unetr import UnetrDecoder
from unmask.models.heads import BranchHead, ForegroundHead, linear, mlp
from unmask.models.mit import MixTransformer
from unmask.models.resnet import ResNet
from unmask.models.resunet import ResUNet
from unmask.models.resunet_pea import PeaDecoder, PeaResUNet
from unmask.models.superhuman import Superhuman, SuperhumanDecoder
from unmask.models.vit import ViT

BACKBONES = {
    "mit": MixTransformer,
    "resnet": ResNet,
    "resunet": ResUNet,
    "resunet_pea": PeaResUNet,
    "superhuman": Superhuman,
    "vit": ViT,
}
DECODERS = {
    "linear": LinearDecoder,
    "manet": ManetDecoder,
    "pool": PoolDecoder,
    "resunet_pea": PeaDecoder,
    "superhuman": SuperhumanDecoder,
    "spark": SparkDecoder,
    "unet": UNetDecoder,
    "unetr": UnetrDecoder,
}
HEADS = {"branches": BranchHead, "foreground": ForegroundHead, "linear": linear, "mlp": mlp}

__all__ = [
    "BACKBONES",
    "DECODERS",
    "HEADS",
    "BranchHead",
    "ForegroundHead",
    "LinearDecoder",
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
