"""Networks: backbones compute features, decoders bring them to the size of the image, and heads map
them to the channels of a task.
"""

import lazy_loader

from unmask.parts import Parts

BACKBONES = Parts(
    "unmask.backbones",
    {
        "efficientnet_lite": "unmask.models.efficientnet_lite:EfficientNetLite",
        "mala": "unmask.models.mala:Mala",
        "mit": "unmask.models.mit:MixTransformer",
        "pixels": "unmask.pixels.backbone:PixelFeatures",
        "resnet": "unmask.models.resnet:ResNet",
        "resunet": "unmask.models.resunet:ResUNet",
        "resunet_pea": "unmask.models.resunet_pea:PeaResUNet",
        "superhuman": "unmask.models.superhuman:Superhuman",
        "vit": "unmask.models.vit:ViT",
    },
)
DECODERS = Parts(
    "unmask.decoders",
    {
        "linear": "unmask.models.decoder_linear:LinearDecoder",
        "mala": "unmask.models.mala:MalaDecoder",
        "manet": "unmask.models.decoder_manet:ManetDecoder",
        "pool": "unmask.models.decoder_pool:PoolDecoder",
        "resunet_pea": "unmask.models.resunet_pea:PeaDecoder",
        "superhuman": "unmask.models.superhuman:SuperhumanDecoder",
        "single": "unmask.models.decoder_single:SingleDecoder",
        "spark": "unmask.models.decoder_spark:SparkDecoder",
        "unet": "unmask.models.decoder_unet:UNetDecoder",
        "unetr": "unmask.models.decoder_unetr:UnetrDecoder",
    },
)
HEADS = Parts(
    "unmask.heads",
    {
        "branches": "unmask.models.heads:BranchHead",
        "foreground": "unmask.models.heads:ForegroundHead",
        "forest": "unmask.pixels.head:ForestHead",
        "linear": "unmask.models.heads:linear",
        "mlp": "unmask.models.heads:mlp",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["BACKBONES", "DECODERS", "HEADS"]
