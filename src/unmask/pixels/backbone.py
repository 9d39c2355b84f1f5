"""Frozen features of every voxel: a filter bank, the features of another network, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask.clustering.dense import Dense
from unmask.errors import RecipeError, message
from unmask.lookup import Choice, build
from unmask.models import BACKBONES, nd
from unmask.models.base import TokenBackbone
from unmask.pixels.bank import filter_bank, filters_per_channel, reach
from unmask.space.box import Box
from unmask.space.pad import pad_reads

SCALES = (0.7, 1.0, 2.0, 4.0, 8.0, 16.0)


class PixelFeatures(nn.Module):
    """One feature map at full resolution that no training changes.

    A patch transformer gives its dense features and their neighborhood (`unmask.clustering`); any
    other network gives its levels, enlarged to the size of the image.

    Args:
        ndim: number of spatial axes.
        in_channels: channels of the image.
        scales: standard deviations of the filter bank in voxels of the finest axis; empty: none.
        anisotropy: voxel size per axis as a multiple of the smallest one; None: all equal.
        network: another backbone by name, with its options; None: the filter bank alone.
        network_crop: crop that the other backbone was trained on.
        neighborhood: standard deviation of the neighborhood of a transformer's features.
        quality: of a transformer's features: ``draft``, ``fast`` or ``exact``.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        *,
        scales: Sequence[float] = SCALES,
        anisotropy: Sequence[float] | None = None,
        network: Mapping[str, Any] | None = None,
        network_crop: Sequence[int] | None = None,
        neighborhood: float = 12.0,
        quality: str = "draft",
    ) -> None:
        super().__init__()
        self.ndim, self.in_channels = ndim, in_channels
        self.scales = tuple(sorted(float(scale) for scale in scales))
        self.anisotropy = tuple(float(x) for x in anisotropy or (1.0,) * ndim)
        self.neighborhood, self.quality = neighborhood, quality
        if (
            len(self.anisotropy) != ndim
            or min(self.anisotropy) < 1
            or min(self.scales, default=1) <= 0
        ):
            raise RecipeError(
                message(
                    "model.backbone pixels",
                    expected=f"scales above 0 and {ndim} numbers of 1 or more as anisotropy",
                    found=f"scales={list(self.scales)}, anisotropy={list(self.anisotropy)}",
                    do="Correct the recipe.",
                )
            )
        if network is None and not self.scales:
            raise RecipeError(
                message(
                    "model.backbone pixels",
                    expected="scales of a filter bank, or a network",
                    found="neither",
                    do="Leave out scales, or give --init MODEL.",
                )
            )
        self.network = None if network is None else _build(network, ndim, in_channels, network_crop)
        channels = in_channels * filters_per_channel(len(self.scales), ndim) if self.scales else 0
        self.channels: Sequence[int] = [channels + self._network_channels()]
        self.strides: Sequence[tuple[int, ...]] = [(1,) * ndim]

    @property
    def reach(self) -> tuple[int, ...]:
        """Voxels per axis on each side of a voxel that its features depend on noticeably."""
        far = reach(self.scales)
        if self.network is not None:
            around = ceil(3 * self.neighborhood) if self._is_transformer() else 0
            far = max(far, around + max(max(stride) for stride in self.network.strides))
        return tuple(ceil(far / factor) for factor in self.anisotropy)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """All features of every voxel, float32, without gradients."""
        parts: list[Tensor] = []
        if nd.is_exporting() and self.network is None:
            # A change of precision inside a recording would become a graph of its own.
            return [filter_bank(image.float(), self.scales, self.anisotropy)]
        with torch.autocast(image.device.type, enabled=False):
            if self.scales:
                parts.append(filter_bank(image.float(), self.scales, self.anisotropy))
            if self.network is not None:
                parts.append(self._network_features(image.float()))
        return [torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]]

    def _is_transformer(self) -> bool:
        return isinstance(self.network, TokenBackbone)

    def _network_channels(self) -> int:
        if self.network is None:
            return 0
        if self._is_transformer():
            return self._dense().dim
        return sum(self.network.channels)

    def _dense(self) -> Dense:
        return Dense(
            self.network, quality=self.quality, neighborhood=self.neighborhood, precision="32"
        )

    def _network_features(self, image: Tensor) -> Tensor:
        self.network.eval()  # pyright: ignore[reportOptionalMemberAccess]
        size = tuple(image.shape[2:])
        if not self._is_transformer():
            levels: list[Tensor] = self.network(image)  # pyright: ignore[reportOptionalCall]
            strides = self.network.strides  # pyright: ignore[reportOptionalMemberAccess]
            enlarged = [
                nd.upsample(level, stride, size)
                for level, stride in zip(levels, strides, strict=True)
            ]
            return torch.cat(enlarged, dim=1)
        dense, found = self._dense(), []
        for one in image.cpu().numpy():
            read = pad_reads(lambda box, one=one: one[:, *box.slices], size, mode=dense.pad)
            found.append(dense.compute(read, size, Box.of(size)).movedim(-1, 0))
        return torch.stack(found)


def _build(
    network: Mapping[str, Any], ndim: int, in_channels: int, crop: Sequence[int] | None
) -> Any:
    """The other backbone, which does not learn."""
    options = {key: value for key, value in network.items() if key != "name"}
    given = {"ndim": ndim, "in_channels": in_channels}
    if crop is not None:
        given["image"] = tuple(crop)  # pyright: ignore[reportArgumentType]
    name = str(network.get("name", ""))
    backbone = build(Choice(name, options), BACKBONES, "model.backbone.network", **given)
    return backbone.requires_grad_(requires_grad=False).eval()
