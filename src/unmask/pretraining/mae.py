"""Masked autoencoder for n axes (He et al. 2022, arXiv:2111.06377).

Most patches of an image are dropped, the backbone encodes the others, a light decoder predicts the
voxels of the dropped ones. Parameter names are the published ones; the encoder's stand under
``backbone``.
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
from unmask.models.base import Objective, Step, TokenBackbone
from unmask.models.blocks import TransformerBlock
from unmask.models.patches import patchify, unpatchify
from unmask.models.vit import initialise
from unmask.pretraining import masks
from unmask.pretraining.masks import Mask
from unmask.space.batch import Batch


class MAE(Objective):
    """Reconstruction of dropped patches.

    Args:
        backbone: the encoder; a transformer over patches.
        mask_ratio: share of patches that are dropped.
        mask_block: patches along every axis that are dropped together (see ``masks.draw``).
        norm_target: predict patches of mean 0 and variance 1, which favours texture over
            brightness.
        decoder_dim: channels of the decoder; 512 and 8 blocks are published, 128 and 2 take a
            twelfth of the time.
        decoder_depth: blocks of the decoder.
        decoder_heads: attention heads of the decoder.
        decoder_mlp_ratio: hidden channels of the decoder's MLPs.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mask_ratio: float = 0.75,
        mask_block: Sequence[int] | None = None,
        norm_target: bool = True,
        decoder_dim: int = 128,
        decoder_depth: int = 2,
        decoder_heads: int = 4,
        decoder_mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, TokenBackbone):
            raise RecipeError(
                f"method mae: expected a backbone of patch tokens such as vit, found "
                f"{type(backbone).__name__}. Set model.backbone=vit."
            )
        if not 0 < mask_ratio < 1:
            raise RecipeError(f"mask_ratio={mask_ratio}: expected a share between 0 and 1.")
        self.mask_ratio = mask_ratio
        self.mask_block = mask_block
        self.norm_target = norm_target
        values = prod(backbone.patch) * backbone.in_channels
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        self.decoder_pos_embed: Tensor
        self.register_buffer("decoder_pos_embed", positions.sincos(backbone.grid, decoder_dim))
        self.decoder_embed = nn.Linear(backbone.dim, decoder_dim)
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(decoder_dim, decoder_heads, mlp_ratio=decoder_mlp_ratio)
            for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_dim, values)
        initialise(self)
        self.backbone = backbone

    def step(self, batch: Batch) -> Step:
        """Loss of one batch; the mask is a function of ``batch.seed``."""
        loss = self.masked_loss(batch.image, self._draw(batch))
        return Step(loss, logs={"loss": loss.detach()})

    def masked_loss(self, image: Float[Tensor, "b c *space"], mask: Mask) -> Float[Tensor, ""]:
        """Mean squared error of the dropped patches."""
        predicted, _ = self.predict(image, mask)
        patches = patchify(image.float(), self.backbone.patch)
        dropped = patches.gather(1, mask.drop[:, :, None].expand_as(predicted))
        return F.mse_loss(predicted.float(), self.target(dropped))

    def target(self, patches: Float[Tensor, "b m v"]) -> Float[Tensor, "b m v"]:
        """What is predicted of patches: their voxels, normalised where the method asks for it."""
        if not self.norm_target:
            return patches
        mean, deviation = _moments(patches)
        return (patches - mean) / deviation

    def predict(
        self, image: Float[Tensor, "b c *space"], mask: Mask
    ) -> tuple[Float[Tensor, "b m v"], Float[Tensor, "b l d"]]:
        """Predictions of the dropped patches in the order of ``mask.drop``, and the latent."""
        hidden, latent = self._decode(image, mask)
        return self.decoder_pred(self.decoder_norm(hidden[:, 1 + mask.keep.shape[1] :])), latent

    def predict_all(
        self, image: Float[Tensor, "b c *space"], mask: Mask
    ) -> tuple[Float[Tensor, "b n v"], Float[Tensor, "b l d"]]:
        """Predictions of all patches in C order, visible ones included, and the latent."""
        hidden, latent = self._decode(image, mask)
        predicted = self.decoder_pred(self.decoder_norm(hidden[:, 1:]))
        places = torch.cat([mask.keep, mask.drop], dim=1).argsort(dim=1)
        return predicted.gather(1, places[:, :, None].expand_as(predicted)), latent

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for people: ``original``, ``masked`` (dropped patches flat), ``rebuilt``."""
        mask = self._draw(batch)
        predicted, _ = self.predict(batch.image, mask)
        patches = patchify(batch.image.float(), self.backbone.patch)
        index = mask.drop[:, :, None].expand_as(predicted)
        predicted = predicted.float()
        if self.norm_target:
            # only the true patch knows its brightness; the pictures show the predicted texture
            mean, deviation = (part.gather(1, index[:, :, :1]) for part in _moments(patches))
            predicted = predicted * deviation + mean
        flat = patches.mean(dim=(1, 2), keepdim=True).expand_as(predicted)
        parts = {
            "original": patches,
            "masked": patches.scatter(1, index, flat),
            "rebuilt": patches.scatter(1, index, predicted),
        }
        patch = self.backbone.patch
        grid = [n // p for n, p in zip(batch.image.shape[2:], patch, strict=True)]
        return {name: unpatchify(part, patch, grid) for name, part in parts.items()}

    def _draw(self, batch: Batch) -> Mask:
        size, patch = batch.image.shape[2:], self.backbone.patch
        return masks.draw(
            len(batch.image),
            [n // p for n, p in zip(size, patch, strict=True)],
            ratio=self.mask_ratio,
            seed=batch.seed,
            block=self.mask_block,
            device=batch.image.device,
        )

    def _decode(self, image: Tensor, mask: Mask) -> tuple[Tensor, Tensor]:
        """Decoder tokens in the order class, kept, dropped; and the encoder's output.

        Attention does not see the order of tokens, only their positions: instead of sorting the
        tokens back, their positions are picked.
        """
        tokens = self.backbone.embed(image)
        latent = self.backbone.encode(tokens.values, mask.keep)
        table = positions.to_grid(self.decoder_pos_embed, self.backbone.grid, tokens.grid)[0]
        visible = self.decoder_embed(latent)
        start = (visible[:, :1] + table[:1], visible[:, 1:] + table[1:][mask.keep])
        hidden = torch.cat([*start, self.mask_token + table[1:][mask.drop]], dim=1)
        for block in self.decoder_blocks:
            hidden = block(hidden)
        return hidden, latent


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every patch, the latter with the published 1e-6 against flat ones."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, (variance + 1e-6).sqrt()
