"""The arithmetic of a network in prediction: float32, bfloat16 or float16."""

from __future__ import annotations

from typing import Literal

import torch

from unmask.space.bf16 import has_bf16

Precision = Literal["auto", "32", "bf16", "16"]


def arithmetic(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Type that the network computes in under autocast; None: float32 as it is.

    ``auto`` is bf16 if the device has instructions for it, and float16 on other NVIDIA GPUs.
    """
    if precision == "auto":
        if has_bf16(device.type):
            return torch.bfloat16
        return torch.float16 if device.type == "cuda" else None
    return {"32": None, "bf16": torch.bfloat16, "16": torch.float16}[precision]
