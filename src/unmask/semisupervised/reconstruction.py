"""Masked reconstruction of unlabeled crops as an auxiliary loss on the segmenter's backbone.

The loss of masked pre-training (He et al. 2022, arXiv:2111.06377; Tian et al. 2023,
arXiv:2301.03580), during the training with labels, so that features stay useful for both.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from unmask.lookup import Choice, build
from unmask.models.base import TokenBackbone
from unmask.pretraining import METHODS
from unmask.space.batch import Batch
from unmask.tasks.segmenter import Segmenter


class Reconstruction(nn.Module):
    """``mae`` for transformers, ``spark`` for convolutional networks.

    Args:
        segmenter: the network that is trained.
        mask_ratio: share of masked patches, in (0, 1); None: the default of the method.
    """

    def __init__(self, segmenter: Segmenter, *, mask_ratio: float | None = None) -> None:
        super().__init__()
        name = "mae" if isinstance(segmenter.backbone, TokenBackbone) else "spark"
        options = {} if mask_ratio is None else {"mask_ratio": mask_ratio}
        method = build(Choice(name, options), METHODS, "method", backbone=segmenter.backbone)
        # The backbone is the segmenter's: as a child its weights would be kept twice.
        _detach(method)
        self.decoder: Any = method

    def begin(self, segmenter: Segmenter) -> None:
        """Nothing is copied."""

    def after_update(self, segmenter: Segmenter) -> None:
        """Nothing follows."""

    def loss(
        self, segmenter: Segmenter, crops: Float[Tensor, "b c *space"], seed: int
    ) -> Float[Tensor, ""]:
        """Reconstruction loss of the crops' hidden patches."""
        self.decoder.__dict__["backbone"] = segmenter.backbone
        return self.decoder.step(Batch(crops, seed=seed)).loss


def _detach(method: nn.Module) -> None:
    """Make the backbone a plain attribute of a pre-training method."""
    backbone = method._modules.pop("backbone")
    method.__dict__["backbone"] = backbone
