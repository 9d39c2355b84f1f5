"""From files to batches: crops, normalization, augmentation."""

import lazy_loader

from unmask.parts import Parts

AUGMENTATIONS = Parts(
    "unmask.augmentations",
    {
        "spatial": "unmask.data.spatial:Spatial",
        "zoom": "unmask.data.zoom:Zoom",
        "gamma": "unmask.data.intensity:Gamma",
        "contrast": "unmask.data.intensity:Contrast",
        "brightness": "unmask.data.intensity:Brightness",
        "noise": "unmask.data.texture:Noise",
        "blur": "unmask.data.texture:Blur",
        "sharpen": "unmask.data.texture:Sharpen",
        "histogram_shift": "unmask.data.intensity:HistogramShift",
        "cutout": "unmask.data.texture:Cutout",
        "invert": "unmask.data.intensity:Invert",
        "channel_shuffle": "unmask.data.intensity:ChannelShuffle",
        "channel_mix": "unmask.data.intensity:ChannelMix",
        "grey": "unmask.data.intensity:Grey",
        "object_intensity": "unmask.data.intensity:ObjectIntensity",
    },
)
NORMALIZERS = Parts(
    "unmask.normalizers",
    {
        "percentile": "unmask.data.normalize:Percentile",
        "minmax": "unmask.data.normalize:MinMax",
        "zscore": "unmask.data.normalize:ZScore",
        "window": "unmask.data.normalize:Window",
        "standard": "unmask.data.normalize:Standard",
        "mediar": "unmask.data.normalize:Mediar",
        "none": "unmask.data.normalize:NoNormalize",
    },
)
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["AUGMENTATIONS", "NORMALIZERS"]
