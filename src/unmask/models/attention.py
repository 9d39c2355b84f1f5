"""Multi-head self-attention; parameter names of timm (rows of ``qkv`` are q, k, v)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Keys up to which the whole matrix of weights is cheaper than torch's fused kernel
_SHORT = 768


class Attention(nn.Module):
    """Softmax attention of all tokens to all tokens (arXiv:1706.03762)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads={heads}: expected a divisor of dim={dim}.")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Weighted sums of values, heads joined and projected."""
        b, n, d = tokens.shape
        # (b, n, 3, heads, d / heads) -> 3 x (b, heads, n, d / heads), without copies
        q, k, v = self.qkv(tokens).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        mixed = attend(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(b, n, d))


def attend(
    q: Float[Tensor, "b h n d"], k: Float[Tensor, "b h m d"], v: Float[Tensor, "b h m d"]
) -> Float[Tensor, "b h n d"]:
    """Softmax attention by torch's fused kernel, or by matrix products where those are faster.

    In bf16 on the CPU the fused kernel's backward pass converts block by block: forward and
    backward of 50 to 700 tokens take 2 to 5 times as long as two plain matrix products.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and k.shape[2] <= _SHORT:
        weight = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
        return weight.softmax(dim=3).to(v.dtype) @ v
    return F.scaled_dot_product_attention(q, k, v)
