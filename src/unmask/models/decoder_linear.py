"""Linear decoder: the coarsest feature, one linear map, interpolation; for probing features."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd


class LinearDecoder(nn.Module):
    """A linear map of the last feature, then linear interpolation to the size of the image.

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse.
        width: channels of the output.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],
        *,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.stride = tuple(strides[-1])
        self.width = width
        self.project = nd.conv(ndim, channels[-1], width, kernel=1)

    def forward(
        self, features: list[Tensor], size: Sequence[int]
    ) -> Float[Tensor, "b width *space"]:
        """One feature vector per voxel of an image of ``size``."""
        return nd.upsample(self.project(features[-1]), self.stride, size)
