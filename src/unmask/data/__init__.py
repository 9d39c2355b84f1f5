"""From files to batches: crops, normalisation, augmentation."""

from unmask.data.augment import augment, read_shape
from unmask.data.intensity import (
    Brightness,
    ChannelMix,
    ChannelShuffle,
    Contrast,
    Gamma,
    Grey,
    HistogramShift,
    Invert,
    ObjectIntensity,
)
from unmask.data.label_changes import LABEL_CHANGES
from unmask.data.normalize import NORMALIZERS
from unmask.data.sampling import SAMPLINGS
from unmask.data.spatial import Spatial
from unmask.data.texture import Blur, Cutout, Noise, Sharpen
from unmask.data.zoom import Zoom

AUGMENTATIONS = {
    "spatial": Spatial,
    "zoom": Zoom,
    "gamma": Gamma,
    "contrast": Contrast,
    "brightness": Brightness,
    "noise": Noise,
    "blur": Blur,
    "sharpen": Sharpen,
    "histogram_shift": HistogramShift,
    "cutout": Cutout,
    "invert": Invert,
    "channel_shuffle": ChannelShuffle,
    "channel_mix": ChannelMix,
    "grey": Grey,
    "object_intensity": ObjectIntensity,
}

__all__ = [
    "AUGMENTATIONS",
    "LABEL_CHANGES",
    "NORMALIZERS",
    "SAMPLINGS",
    "augment",
    "read_shape",
]
