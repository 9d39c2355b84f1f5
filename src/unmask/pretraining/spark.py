"""SparK: masked pre-training of convolutional networks for n axes (arXiv:2301.03580).

Tian et al. 2023. Most patches of an image are hidden, a sparse form of the network encodes the
others, mask tokens fill the gaps at every resolution, and a light decoder predicts the voxels of
the hidden ones. Fine-tuning uses the plain, dense form of the same network. Parameter names are the
published ones; the encoder's stand under ``backbone``, the decoder's under ``decoder`` and
``head``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unmask.errors import RecipeError
from unmask.models import nd
from unmask.models.base import Objective, Step, TokenBackbone
from unmask.models.decoder_spark import SparkDecoder
from unmask.models.patches import grid_of, patchify, unpatchify
from unmask.models.sparse import Visible, check_layers, mask_network
from unmask.pretraining import masks
from unmask.pretraining.masks import Mask
from unmask.space.batch import Batch


class Spark(Objective):
    """Reconstruction of hidden patches by a convolutional network.

    A patch is one voxel of the coarsest feature.

    Args:
        backbone: the encoder; convolutions at several resolutions.
        mask_ratio: share of patches that are hidden.
        norm_target: predict patches of mean 0 and variance 1, which favors texture over
            brightness.
        decoder_top: channels of the decoder at the coarsest resolution (see ``SparkDecoder``).
        decoder_norm: its normalization: ``batch`` as published, ``instance`` or ``group``.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        mask_ratio: float = 0.6,
        norm_target: bool = True,
        decoder_top: int | None = None,
        decoder_norm: str = "batch",
    ) -> None:
        super().__init__()
        network: Any = backbone
        if isinstance(backbone, TokenBackbone) or not hasattr(backbone, "strides"):
            raise RecipeError(
                f"method spark: expected a convolutional backbone such as resnet or resunet, found "
                f"{type(backbone).__name__}. Set model.backbone, or use the method mae."
            )
        check_layers(backbone, needed_by="method spark")
        if not 0 < mask_ratio < 1:
            raise RecipeError(
                f"mask_ratio={mask_ratio}: expected a share between 0 and 1. "
                "Change method.mask_ratio."
            )
        self.patch: tuple[int, ...] = tuple(network.strides[-1])
        if prod(self.patch) == 1:
            raise RecipeError(
                "method spark: expected a backbone with features coarser than the image, found "
                f"strides {network.strides}. Give it more resolutions."
            )
        self.mask_ratio = mask_ratio
        self.norm_target = norm_target
        ndim, channels = network.ndim, tuple(network.channels)
        self.backbone = backbone
        self.decoder = SparkDecoder(
            ndim, channels, network.strides, top=decoder_top, norm=decoder_norm
        )
        self.head = nd.conv(ndim, self.decoder.width, network.in_channels, kernel=1)
        column = (1,) * ndim
        self.mask_tokens = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(1, c, *column), std=0.02) for c in reversed(channels)
        )

    def leaves_weights_out(self, shape: Sequence[int]) -> bool:  # noqa: ARG002 - the contract
        """Every weight takes part in the rebuilt image."""
        return False

    def step(self, batch: Batch) -> Step:
        """Loss of one batch; the mask is a function of ``batch.seed``."""
        loss = self.masked_loss(batch.image, self._draw(batch))
        return Step(loss, logs={"loss": loss.detach()})

    def masked_loss(self, image: Float[Tensor, "b c *space"], mask: Mask) -> Float[Tensor, ""]:
        """Mean squared error of the hidden patches."""
        found = patchify(self.predict(image, mask).float(), self.patch)
        wanted = patchify(image.float(), self.patch)
        index = mask.drop[:, :, None].expand(-1, -1, wanted.shape[2])
        return F.mse_loss(found.gather(1, index), self.target(wanted.gather(1, index)))

    def target(self, patches: Float[Tensor, "b m v"]) -> Float[Tensor, "b m v"]:
        """What is predicted of patches: their voxels, normalized where the method asks for it."""
        if not self.norm_target:
            return patches
        mean, deviation = _moments(patches)
        return (patches - mean) / deviation

    def predict(
        self, image: Float[Tensor, "b c *space"], mask: Mask
    ) -> Float[Tensor, "b c *space"]:
        """The whole image as predicted from its visible patches."""
        visible = Visible.of(mask.keep, grid_of(image.shape[2:], self.patch))
        projected = self.densify(self.encode(image, visible), visible)
        return self.head(self.decoder.join(projected, tuple(image.shape[2:])))

    def encode(self, image: Float[Tensor, "b c *space"], visible: Visible) -> list[Tensor]:
        """Features of the visible patches, fine to coarse; zero elsewhere."""
        return mask_network(self.backbone, visible)(image * visible.at(image.shape[2:]))

    def densify(self, features: list[Tensor], visible: Visible) -> list[Tensor]:
        """Normalized, with mask tokens in the gaps, and projected; coarse to fine."""
        decoder = self.decoder
        layers = zip(decoder.densify_norms, self.mask_tokens, decoder.densify_projs, strict=True)
        projected = []
        for (norm, token, project), feature in zip(layers, reversed(features), strict=True):
            hidden = 1 - visible.at(feature.shape[2:])
            filled = mask_network(norm, visible)(feature)
            projected.append(project(filled + (hidden * token).to(filled.dtype)))
        return projected

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures for people: ``original``, ``masked`` (hidden patches flat), ``rebuilt``."""
        mask = self._draw(batch)
        patches = patchify(batch.image.float(), self.patch)
        found = patchify(self.predict(batch.image, mask).float(), self.patch)
        if self.norm_target:
            # Only the true patch knows its brightness; the pictures show the predicted texture
            mean, deviation = _moments(patches)
            found = found * deviation + mean
        index = mask.drop[:, :, None].expand(-1, -1, patches.shape[2])
        flat = patches.mean(dim=(1, 2), keepdim=True).expand_as(patches)
        parts = {
            "original": patches,
            "masked": patches.scatter(1, index, flat),
            "rebuilt": patches.scatter(1, index, found.gather(1, index)),
        }
        grid = grid_of(batch.image.shape[2:], self.patch)
        return {name: unpatchify(part, self.patch, grid) for name, part in parts.items()}

    def _draw(self, batch: Batch) -> Mask:
        grid = grid_of(batch.image.shape[2:], self.patch)
        return masks.draw(
            len(batch.image),
            grid,
            ratio=hidden_share(prod(grid), self.mask_ratio),
            seed=batch.seed,
            device=batch.image.device,
        )


def hidden_share(patches: int, ratio: float) -> float:
    """A share that keeps the published, rounded number of patches: 20 of 49 at 0.6.

    Examples:
        >>> [int(n * (1 - hidden_share(n, 0.6))) for n in (4, 9, 49)]
        [2, 4, 20]
    """
    # The mask rounds down; a half more than the number is far from its neighbors
    return 1 - (round(patches * (1 - ratio)) + 0.5) / patches


def _moments(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of every patch, the latter with the published 1e-6 against flat ones."""
    variance, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, (variance + 1e-6).sqrt()
