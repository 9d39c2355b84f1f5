"""The light decoder of masked autoencoders (He et al. 2022, arXiv:2111.06377), for n axes.

It receives what the encoder made of the visible patches and predicts the voxels of the dropped
ones. Parameter names are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import RecipeError
from unmask.models import positions
from unmask.models.base import TokenBackbone
from unmask.models.blocks import TransformerBlock
from unmask.models.patches import grid_of, patchify, unpatchify
from unmask.models.vit import initialize
from unmask.pretraining.masks import Mask


def token_backbone(backbone: nn.Module, *, method: str) -> TokenBackbone:
    """The backbone, if its encoder runs on patch tokens.

    Raises:
        RecipeError: it does not.
    """
    if not isinstance(backbone, TokenBackbone):
        raise RecipeError(
            f"method {method}: expected a backbone of patch tokens such as vit, found "
            f"{type(backbone).__name__}. Set model.backbone=vit."
        )
    return backbone


def check_ratio(ratio: float) -> float:
    """The share of dropped patches.

    Raises:
        RecipeError: not between 0 and 1.
    """
    if not 0 < ratio < 1:
        raise RecipeError(
            f"mask_ratio={ratio}: expected a share between 0 and 1. Change method.mask_ratio."
        )
    return ratio


class PatchDecoder(nn.Module):
    """From the latent of visible patches to the voxels of all.

    Args:
        backbone: gives the sizes; it is not kept.
        dim: channels; 512 and 8 blocks are published, 128 and 2 take a twelfth of the time.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden channels of the MLPs.
        norm_target: predict patches of mean 0 and variance 1, which favors texture over
            brightness.
    """

    def __init__(
        self,
        backbone: TokenBackbone,
        *,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        norm_target: bool = True,
    ) -> None:
        super().__init__()
        self.norm_target = norm_target
        self.patch, self.table_grid = backbone.patch, backbone.grid
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.decoder_pos_embed: Tensor
        self.register_buffer("decoder_pos_embed", positions.sincos(backbone.grid, dim))
        self.decoder_embed = nn.Linear(backbone.dim, dim)
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(dim, heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.decoder_norm = nn.LayerNorm(dim, eps=1e-6)
        self.decoder_pred = nn.Linear(dim, prod(backbone.patch) * backbone.in_channels)
        initialize(self)

    def decode(
        self, latent: Float[Tensor, "b l d"], mask: Mask, grid: Sequence[int]
    ) -> Float[Tensor, "b n e"]:
        """Decoder tokens in the order class, kept, dropped.

        Attention does not see the order of tokens, only their positions: instead of sorting the
        tokens back, their positions are picked.
        """
        table = positions.to_grid(self.decoder_pos_embed, self.table_grid, grid)[0]
        visible = self.decoder_embed(latent)
        start = (visible[:, :1] + table[:1], visible[:, 1:] + table[1:][mask.keep])
        hidden = torch.cat([*start, self.mask_token + table[1:][mask.drop]], dim=1)
        for block in self.decoder_blocks:
            hidden = block(hidden)
        return hidden

    def dropped(
        self, latent: Float[Tensor, "b l d"], mask: Mask, grid: Sequence[int]
    ) -> Float[Tensor, "b m v"]:
        """Predictions of the dropped patches in the order of ``mask.drop``."""
        hidden = self.decode(latent, mask, grid)[:, 1 + mask.keep.shape[1] :]
        return self.decoder_pred(self.decoder_norm(hidden))

    def target(self, patches: Float[Tensor, "b m v"]) -> Float[Tensor, "b m v"]:
        """What is predicted of patches: their voxels, normalized where the method asks for it."""
        if not self.norm_target:
            return patches
        mean, deviation = _moments(patches)
        return (patches - mean) / deviation

    def reconstruction_loss(
        self, image: Float[Tensor, "b c *space"], predicted: Float[Tensor, "b m v"], mask: Mask
    ) -> Float[Tensor, ""]:
        """Mean squared error of the dropped patches."""
        patches = patchify(image.float(), self.patch)
        dropped = patches.gather(1, mask.drop[:, :, None].expand_as(predicted))
        return F.mse_loss(predicted.float(), self.target(dropped))

    def pictures(
        self, image: Float[Tensor, "b c *space"], predicted: Float[Tensor, "b m v"], mask: Mask
    ) -> dict[str, Tensor]:
        """Pictures for people: ``original``, ``masked`` (dropped patches flat), ``rebuilt``."""
        patches = patchify(image.float(), self.patch)
        index = mask.drop[:, :, None].expand_as(predicted)
        predicted = predicted.float()
        if self.norm_target:
            # Only the true patch knows its brightness; the pictures show the predicted texture
            mean, deviation = (part.gather(1, index[:, :, :1]) for part in _moments(patches))
            predicted = predicted * deviation + mean
        flat = patches.mean(dim=(1, 2), keepdim=True).expand_as(predicted)
        parts = {
            "original": patches,
            "masked": patches.scatter(1, index, flat),
            "rebuilt": patches.scatter(1, index, predicted),
        }
        grid = grid_of(image.shape[2:], self.patch)
        return {name: unpatchify(part, self.patch, grid) for name, part in parts.items()}


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every patch, the latter with the published 1e-6 against flat ones."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, (variance + 1e-6).sqrt()
