"""From files to batches: crops, normalization, augmentation."""

import lazy_loader

from unmask.parts import Parts

AUGMENTATIONS = Parts(
    "unmask.augmentations",
    {
        "spatial": "unmask.data.augment.spatial:Spatial",
        "zoom": "unmask.data.augment.zoom:Zoom",
        "gamma": "unmask.data.augment.intensity:Gamma",
        "contrast": "unmask.data.augment.intensity:Contrast",
        "brightness": "unmask.data.augment.intensity:Brightness",
        "noise": "unmask.data.augment.texture:Noise",
        "blur": "unmask.data.augment.texture:Blur",
        "sharpen": "unmask.data.augment.texture:Sharpen",
        "histogram_shift": "unmask.data.augment.intensity:HistogramShift",
        "cutout": "unmask.data.augment.texture:Cutout",
        "invert": "unmask.data.augment.intensity:Invert",
        "channel_shuffle": "unmask.data.augment.intensity:ChannelShuffle",
        "channel_mix": "unmask.data.augment.intensity:ChannelMix",
        "gray": "unmask.data.augment.intensity:Gray",
        # The name in recipes and model files of version 0.1.
        "grey": "unmask.data.augment.intensity:Gray",
        "copy_paste": "unmask.data.augment.copy_paste:CopyPaste",
        "object_intensity": "unmask.data.augment.intensity:ObjectIntensity",
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
