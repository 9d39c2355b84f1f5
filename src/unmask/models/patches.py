"""Images as sequences of patches, for any number of axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import DataError
from unmask.models import nd


def grid_of(size: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
    """Patches along every axis.

    Raises:
        DataError: a size that is not a multiple of the patch.
    """
    if any(n % p for n, p in zip(size, patch, strict=True)):
        near = tuple(max(p, n - n % p) for n, p in zip(size, patch, strict=True))
        raise DataError(
            f"expected crops of whole patches {tuple(patch)}, found {tuple(size)}. "
            f"Use for example {near}."
        )
    return tuple(n // p for n, p in zip(size, patch, strict=True))


def patchify(image: Float[Tensor, "b c *space"], patch: Sequence[int]) -> Float[Tensor, "b n v"]:
    """One row per patch, patches in C order; inside a row voxels in C order, channels fastest."""
    b, c, *size = image.shape
    axes = len(patch)
    grid = grid_of(size, patch)
    split = [length for pair in zip(grid, patch, strict=True) for length in pair]
    order = (0, *range(2, 2 + 2 * axes, 2), *range(3, 3 + 2 * axes, 2), 1)
    return image.reshape(b, c, *split).permute(order).reshape(b, prod(grid), prod(patch) * c)


def unpatchify(
    patches: Float[Tensor, "b n v"], patch: Sequence[int], grid: Sequence[int]
) -> Float[Tensor, "b c *space"]:
    """The image whose ``patchify`` gives ``patches``."""
    b, axes = patches.shape[0], len(patch)
    pairs = [position for axis in range(axes) for position in (1 + axis, 1 + axes + axis)]
    size = [g * p for g, p in zip(grid, patch, strict=True)]
    image = patches.reshape(b, *grid, *patch, -1)
    return image.permute(0, 1 + 2 * axes, *pairs).reshape(b, -1, *size)


class PatchEmbed(nn.Module):
    """A linear map of every patch; the parameters are those of timm's convolution ``proj``."""

    def __init__(self, ndim: int, in_channels: int, dim: int, patch: Sequence[int]) -> None:
        super().__init__()
        self.patch = tuple(patch)
        self.proj = nd.patch_conv(ndim, in_channels, dim, self.patch)

    @torch.no_grad()
    def initialize(self) -> None:
        """Xavier-uniform as the matrix that it is, without offset."""
        nn.init.xavier_uniform_(self.proj.weight.flatten(1))
        if self.proj.bias is not None:
            self.proj.bias.zero_()

    def forward(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b n d"]:
        """One token a patch, in C order."""
        # A matrix product: convolutions with kernel = stride are slow backwards on the CPU
        weight = self.proj.weight.movedim(1, -1).flatten(1)
        return F.linear(patchify(image, self.patch), weight, self.proj.bias)
