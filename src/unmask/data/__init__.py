"""From files to batches: crops, normalisation, augmentation."""

from unmask.data.augment import augment, read_shape
from unmask.data.intensity import (
    Blur,
    Brightness,
    ChannelMix,
    ChannelShuffle,
    Contrast,
    Cutout,
    Gamma,
    Grey,
    HistogramShift,
    Invert,
    Noise,
    Sharpen,
)
from unmask.data.normalize import NORMALIZERS
from unmask.data.spatial import Spatial

AUGMENTATIONS = {
    "spatial": Spatial,
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
}

__all__ = ["AUGMENTATIONS", "NORMALIZERS", "augment", "read_shape"]
