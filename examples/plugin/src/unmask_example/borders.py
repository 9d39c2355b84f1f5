"""Instances from three classes: background, inside, border; for any number of axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from scipy import ndimage

from unmask.tasks.base import Target


@dataclass(frozen=True)
class Borders:
    """Objects are the connected insides, grown back over their borders.

    Attributes:
        width: thickness of a border in voxels.
    """

    width: int = 1

    @property
    def context(self):
        return 4 * self.width

    @property
    def metrics(self):
        return ("f1@0.5",)

    def channels(self):
        return 3

    def encode(self, labels, spacing):
        size = 2 * self.width + 1
        lowest, highest = ndimage.minimum_filter(labels, size), ndimage.maximum_filter(labels, size)
        classes = np.where(labels == 0, 0, np.where(lowest == highest, 1, 2))
        ones = np.ones((1, *labels.shape), np.float32)
        return Target(classes[None].astype(np.float32), ones)

    def loss(self, logits, values, weight):
        each = F.cross_entropy(logits.float(), values[:, 0].long(), reduction="none")
        return (each * weight[:, 0]).sum() / weight.sum().clamp(min=1)

    def activate(self, logits):
        return logits.float().softmax(1)

    def flip(self, scores, axis):
        return scores.flip(axis + 2)

    def decode(self, scores, spacing):
        classes = scores.argmax(0)
        seeds, _ = ndimage.label(classes == 1)
        far, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
        grown = seeds[tuple(nearest)]
        return np.where((classes > 0) & (far <= 2 * self.width), grown, 0).astype(np.int32)
