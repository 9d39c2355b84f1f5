"""Cache of the features of tiles, so that a new label does not compute them again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import xxhash
from jaxtyping import Float
from torch import Tensor, nn


class Remembered(nn.Module):
    """Backbones of one level side by side; each keeps the features of its latest tiles.

    Args:
        parts: backbones of one level at full resolution.
        most: bytes of features that are kept in all; the oldest are forgotten.
    """

    def __init__(self, parts: Sequence[nn.Module], most: float = 1e9) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.most = most
        self._kept: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()

    def forward(self, image: Float[Tensor, "b c *space"]) -> list[Tensor]:
        """Features of all parts, joined."""
        return [torch.cat([self.part(n, image) for n in range(len(self.parts))], dim=1)]

    @torch.no_grad()
    def part(self, number: int, image: Float[Tensor, "b c *space"]) -> Tensor:
        """Features of one part."""
        content = xxhash.xxh3_128_digest(image.detach().cpu().contiguous().numpy().data)
        key = (number, tuple(image.shape), content)
        if key not in self._kept:
            self._kept[key] = self.parts[number](image)[0]
        self._kept.move_to_end(key)
        found = self._kept[key]
        while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > self.most:
            self._kept.popitem(last=False)
        return found
