"""What decoders of several resolutions share: levels, and the finest one at the image's size."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from unmask.models import nd


class PyramidDecoder(nn.Module):
    """A decoder whose levels deep supervision can read; a subclass defines ``pyramid``.

    Attributes:
        strides: strides of the levels, fine to coarse, each a multiple of the one before.
        widths: channels of the levels, fine to coarse.
        width: channels of the output.
    """

    strides: Sequence[tuple[int, ...]]
    widths: Sequence[int]
    width: int

    def forward(
        self, features: list[Tensor], size: Sequence[int]
    ) -> Float[Tensor, "b width *space"]:
        """One feature vector per voxel of an image of ``size``."""
        return self.restore(self.pyramid(features)[0], size)

    def pyramid(self, features: list[Tensor]) -> list[Tensor]:  # noqa: ARG002 - the contract
        """Decoded features ``(B, widths[i], *space)`` at every resolution, fine to coarse."""
        raise TypeError(f"{type(self).__name__} does not define pyramid(features).")

    def restore(self, finest: Tensor, size: Sequence[int]) -> Tensor:
        """The finest level at the size of the image."""
        return nd.upsample(finest, self.strides[0], size)

    def factor(self, level: int) -> tuple[int, ...]:
        """How much finer a level is than the next coarser one, per axis."""
        fine, coarse = self.strides[level], self.strides[level + 1]
        return tuple(b // a for a, b in zip(fine, coarse, strict=True))
