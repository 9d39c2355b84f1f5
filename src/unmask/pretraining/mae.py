"""Masked autoencoder for n axes (He et al. 2022, arXiv:2111.06377).

Most patches of an image are dropped, the backbone encodes the others, a light decoder predicts the
voxels of the dropped ones. Parameter names are the published ones; the encoder's stand under
``backbone``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.models.base import Objective, Step
from unmask.pretraining import masks
from unmask.pretraining.decoder import PatchDecoder, check_ratio, token_backbone
from unmask.pretraining.masks import Mask
from unmask.space.batch import Batch


# A decoder by inheritance, because the published names of its parameters stand at the top.
class MAE(PatchDecoder, Objective):
    """Reconstruction of dropped patches.

    Args:
        backbone: the encoder; a transformer over patches.
        mask_ratio: share of patches that are dropped.
        mask_block: patches along every axis that are dropped together (see ``masks.draw``).
        norm_target: predict patches of mean 0 and variance 1, which favors texture over
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
        super().__init__(
            token_backbone(backbone, method="mae"),
            dim=decoder_dim,
            depth=decoder_depth,
            heads=decoder_heads,
            mlp_ratio=decoder_mlp_ratio,
            norm_target=norm_target,
        )
        self.mask_ratio = check_ratio(mask_ratio)
        self.mask_block = mask_block
        self.backbone: Any = backbone

    def leaves_weights_out(self, shape: Sequence[int]) -> bool:  # noqa: ARG002 - the contract
        """Every weight takes part in the rebuilt image."""
        return False

    def step(self, batch: Batch) -> Step:
        """Loss of one batch; the mask is a function of ``batch.seed``."""
        loss = self.masked_loss(batch.image, self._draw(batch))
        return Step(loss, logs={"loss": loss.detach()})

    def masked_loss(self, image: Float[Tensor, "b c *space"], mask: Mask) -> Float[Tensor, ""]:
        """Mean squared error of the dropped patches."""
        return self.reconstruction_loss(image, self.predict(image, mask)[0], mask)

    def predict(
        self, image: Float[Tensor, "b c *space"], mask: Mask
    ) -> tuple[Float[Tensor, "b m v"], Float[Tensor, "b l d"]]:
        """Predictions of the dropped patches in the order of ``mask.drop``, and the latent."""
        latent, grid = self._encode(image, mask)
        return self.dropped(latent, mask, grid), latent

    def predict_all(
        self, image: Float[Tensor, "b c *space"], mask: Mask
    ) -> tuple[Float[Tensor, "b n v"], Float[Tensor, "b l d"]]:
        """Predictions of all patches in C order, visible ones included, and the latent."""
        latent, grid = self._encode(image, mask)
        predicted = self.decoder_pred(self.decoder_norm(self.decode(latent, mask, grid)[:, 1:]))
        places = torch.cat([mask.keep, mask.drop], dim=1).argsort(dim=1)
        return predicted.gather(1, places[:, :, None].expand_as(predicted)), latent

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for people: ``original``, ``masked`` (dropped patches flat), ``rebuilt``."""
        mask = self._draw(batch)
        return self.pictures(batch.image, self.predict(batch.image, mask)[0], mask)

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

    def _encode(self, image: Tensor, mask: Mask) -> tuple[Tensor, tuple[int, ...]]:
        tokens = self.backbone.embed(image)
        return self.backbone.encode(tokens.values, mask.keep), tokens.grid
