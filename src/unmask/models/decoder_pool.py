"""One vector for a whole image: the mean of the coarsest feature."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class PoolDecoder(nn.Module):
    """The mean of the last feature over space; heads then work on a single voxel.

    For a transformer that is the mean of its tokens, or the class token where the backbone gives
    it as a feature (``class_feature``).

    Args:
        ndim: number of spatial axes.
        channels: channels of the features, fine to coarse.
        strides: strides of the features, fine to coarse.
    """

    def __init__(
        self,
        ndim: int,
        channels: Sequence[int],
        strides: Sequence[Sequence[int]],  # noqa: ARG002 - the contract of decoders
    ) -> None:
        super().__init__()
        self.width = channels[-1]
        self.axes = tuple(range(2, 2 + ndim))

    def forward(
        self,
        features: list[Tensor],
        size: Sequence[int],  # noqa: ARG002 - the contract of decoders
    ) -> Float[Tensor, "b width *one"]:
        """One feature vector per image, with spatial axes of length 1."""
        return features[-1].mean(dim=self.axes, keepdim=True)
