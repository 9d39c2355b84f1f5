"""Vision transformer for n axes (arXiv:2010.11929); parameter names of MAE and timm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unmask.models import nd, positions
from unmask.models.base import Tokens
from unmask.models.blocks import TransformerBlock
from unmask.models.patches import PatchEmbed, grid_of

# The blocks that UNETR (arXiv:2103.10504) as widely used takes features from, as twelfths of 12.
_TAPS = (4, 7, 10, 12)
# Stride of a feature that has one voxel for images of any size.
_WHOLE = 2**31 - 1


class ViT(nn.Module):
    """Transformer over patches; its features are the image and the outputs of some blocks.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        image: image size that the position table is made for, in voxels; other sizes interpolate,
            and what is no whole patch is padded to one.
        patch: voxels of a patch along every axis.
        dim: channels of a token.
        depth: number of blocks.
        heads: attention heads, a divisor of ``dim``.
        mlp_ratio: hidden channels of the MLPs as a multiple of ``dim``.
        taps: blocks whose outputs are features, counted from 1, the last one included; 0 are the
            tokens before the first block. Default: a quarter of the depth apart and the last one,
            which is 4, 7, 10 and 12 of 12.
        class_feature: the class token is one more feature, the coarsest, of a single voxel.
        position_scale: factor on the positions of patches (0.08 in MAESTER).
    """

    def __init__(  # noqa: PLR0913 - an architecture has as many; a recipe names each
        self,
        ndim: int,
        in_channels: int,
        *,
        image: int | Sequence[int] = 224,
        patch: int | Sequence[int] = 16,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 4.0,
        taps: Sequence[int] | None = None,
        class_feature: bool = False,
        position_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.ndim = ndim
        self.in_channels = in_channels
        self.dim = dim
        self.patch = nd.per_axis(patch, ndim)
        size = nd.per_axis(image, ndim)
        self.grid = tuple(-(-n // p) for n, p in zip(size, self.patch, strict=True))
        self.taps = _checked(taps, depth)
        self.position_scale = position_scale
        self.class_feature = class_feature
        whole = [(_WHOLE,) * ndim] if class_feature else []
        self.strides = ((1,) * ndim, *(self.patch for _ in self.taps), *whole)
        self.channels = (in_channels, *(dim for _ in self.strides[1:]))
        self.patch_embed = PatchEmbed(ndim, in_channels, dim, self.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed: Tensor
        self.register_buffer("pos_embed", positions.sincos(self.grid, dim))
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        initialize(self)

    def embed(self, image: Float[Tensor, "b c *space"]) -> Tokens:
        """Patch tokens with their positions; sizes must be multiples of ``patch``."""
        if nd.is_exporting():
            # The sizes of a convolution need no proof that whole patches fill the image.
            embedded = self.patch_embed.proj(image)
            grid, values = tuple(embedded.shape[2:]), nd.image_to_tokens(embedded)
        else:
            grid, values = grid_of(image.shape[2:], self.patch), self.patch_embed(image)
        table = positions.to_grid(self.pos_embed, self.grid, grid)[:, 1:]
        return Tokens(values + self.position_scale * table, grid)

    def encode(
        self, tokens: Float[Tensor, "b n d"], keep: Int[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Normed outputs: the class token, then one per kept token in the order of ``keep``."""
        if keep is not None:
            tokens = tokens.gather(1, keep[:, :, None].expand(-1, -1, self.dim))
        hidden = self._with_class(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """The image, then the tapped blocks as maps of ``ceil(size / patch)``; the last normed.

        With ``class_feature`` the normed class token follows as a map of one voxel.
        """
        tokens = self.embed(nd.pad_to_multiple(image, self.patch))
        hidden = self._with_class(tokens.values)
        features = [image]
        for number, block in enumerate((nn.Identity(), *self.blocks)):
            hidden = block(hidden)
            if number in self.taps:
                hidden = self.norm(hidden) if number == len(self.blocks) else hidden
                features.append(nd.tokens_to_image(hidden[:, 1:], tokens.grid))
        if self.class_feature:
            features.append(hidden[:, 0].unflatten(1, (-1, *(1 for _ in tokens.grid))))
        return features

    def _with_class(self, tokens: Tensor) -> Tensor:
        start = (self.cls_token + self.pos_embed[:, :1]).expand(tokens.shape[0], -1, -1)
        return torch.cat([start, tokens], dim=1)


def initialize(module: nn.Module) -> None:
    """Start of arXiv:2111.06377: Xavier-uniform linear maps, patches too; tokens N(0, 0.02)."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            part.initialize()
    for name, parameter in module.named_parameters():
        if name.endswith("_token"):
            nn.init.normal_(parameter, std=0.02)


def _checked(taps: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    if taps is None:
        shares = (depth * twelfth // 12 for twelfth in _TAPS)
        return tuple(sorted({max(1, block) for block in shares}))
    if list(taps) != sorted(set(taps)) or taps[0] < 0 or taps[-1] != depth:
        raise ValueError(
            f"taps={list(taps)}: expected increasing block numbers from 0 to {depth} that "
            f"end with {depth}."
        )
    return tuple(taps)
