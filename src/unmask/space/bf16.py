"""Where 16-bit numbers save time."""

from __future__ import annotations

import torch


def has_bf16(device: str) -> bool:
    """Whether a type of device (``cuda``, ``cpu``, ``mps``) has instructions for bf16.

    Emulated, it is slower than float32.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False
