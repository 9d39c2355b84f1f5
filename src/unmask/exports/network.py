"""The module that is exported: from images to scores, normalization included where it is fixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.data.normalize import Affine, Normalizer
from unmask.errors import RecipeError, UnmaskError, message
from unmask.infer.predictor import Predictor


class Exported(nn.Module):
    """Images to scores.

    Args:
        segmenter: the network, with ``logits(image)``.
        task: turns logits into scores.
        normalize: map of the values of any image; None: the network gets normalized images.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, segmenter: nn.Module, task: Any, normalize: Affine | None = None) -> None:
        super().__init__()
        self.segmenter: Any = segmenter
        self.activate = task.activate
        self.bounds = None if normalize is None else (normalize.low, normalize.high)
        if normalize is not None:
            self.register_buffer("scale", torch.tensor(normalize.scale))
            self.register_buffer("shift", torch.tensor(normalize.shift))

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b s *space"]:
        """Scores of a batch."""
        if self.bounds is not None:
            column = (-1,) + (1,) * (image.ndim - 2)
            image = image * self.scale.reshape(column) + self.shift.reshape(column)
            low, high = self.bounds
            image = image if low is None and high is None else image.clamp(low, high)
        return self.activate(self.segmenter.logits(image))


def make_exported(predictor: Predictor) -> Exported:
    """The module to export of a predictor of one model.

    Raises:
        RecipeError: several models, or a part that no file format can hold.
    """
    if len(predictor.segmenters) != 1:
        raise RecipeError(
            message(
                "export",
                expected="one model",
                found=f"{len(predictor.segmenters)}",
                do="Export each model of an ensemble, and average their scores.",
            )
        )
    segmenter = predictor.segmenters[0].to("cpu").float().eval()
    modules: Iterator[Any] = segmenter.modules()
    for module in modules:
        if reason := _REASONS.get(type(module).__name__):
            raise RecipeError(refusal(type(module).__name__, reason))
        if type(module).__name__ == "PixelFeatures" and module.network is not None:
            raise RecipeError(refusal("PixelFeatures with a network", _WINDOWS))
    fixed = find_fixed(predictor.normalize, predictor.channels, predictor.ndim)
    return Exported(segmenter, predictor.task, fixed).eval()


_WINDOWS = "its features are computed window by window in a loop outside the network"
_REASONS = {
    "ForestHead": "its trees are read by a compiled kernel, and a score jumps at a threshold",
}


def refusal(part: str, reason: str) -> str:
    """The message about a part that cannot be exported."""
    return message(
        f"export of {part}",
        expected="a network of layers that file formats know",
        found=reason,
        do="Use this model with unmask predict, or train one with another model.backbone or "
        "model.head.",
    )


def find_fixed(normalize: Normalizer, channels: int, ndim: int) -> Affine | None:
    """The map of a normalization that is the same for all images; None: images are measured.

    Whether it is the same is found out by two unlike images.
    """
    rising = np.arange(channels * 4**ndim, dtype=np.float32).reshape(channels, *(4,) * ndim)
    try:
        one, two = (normalize.measure(image) for image in (rising + 1, 7 - 3 * rising))
    except UnmaskError:
        return None
    if not (isinstance(one, Affine) and isinstance(two, Affine)):
        return None
    return one if replace(one, undefined=0) == replace(two, undefined=0) else None
