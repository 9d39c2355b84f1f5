"""Multi-head self-attention; parameter names of timm (rows of ``qkv`` are q, k, v)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Attention(nn.Module):
    """Softmax attention of all tokens to all tokens (arXiv:1706.03762)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads={heads}: expected a divisor of dim={dim}.")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Weighted sums of values, heads joined and projected."""
        b, n, d = tokens.shape
        # (b, n, 3, heads, d / heads) -> 3 x (b, heads, n, d / heads), without copies
        q, k, v = self.qkv(tokens).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, d))
