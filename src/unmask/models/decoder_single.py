"""Decoder of a single feature map at full resolution: nothing is left to decode."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class SingleDecoder(nn.Module):
    """The one feature map of a backbone as it is.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features.
        strides: strides of the features.

    Raises:
        ValueError: several levels, or features that are coarser than the image.
    """

    def __init__(
        self, ndim: int, channels: Sequence[int], strides: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        if len(channels) != 1 or tuple(strides[0]) != (1,) * ndim:
            raise ValueError(
                f"expected a backbone of one level at full resolution such as pixels, found "
                f"strides {[tuple(stride) for stride in strides]}."
            )
        self.width = channels[0]

    def forward(
        self, features: list[Tensor], size: Sequence[int]
    ) -> Float[Tensor, "b width *space"]:
        """The features; ``size`` is theirs already."""
        return features[0].reshape(*features[0].shape[:2], *size)
