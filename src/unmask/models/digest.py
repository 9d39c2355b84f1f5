"""The digest of weights: it tells one trained model from another of the same shape."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import xxhash
from torch import Tensor


def digest_weights(weights: Iterable[tuple[str, Tensor]]) -> str:
    """Digest of names, shapes, types and values, in hexadecimal digits; the order counts."""
    digest = xxhash.xxh3_128()
    for name, tensor in weights:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()
