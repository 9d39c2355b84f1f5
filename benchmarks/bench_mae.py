"""Masked-autoencoder training steps: share of what the processor's matrix product reaches.

ViT-Small/16, 224 x 224, batch 8, 75 % masked, fused AdamW, one thread. Work is counted from the
shapes of the matrix products, backward as twice forward. ``ratio`` is float32 over bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from harness import interleave, measure, write
from unmask.models import ViT
from unmask.pretraining import MAE
from unmask.space.batch import Batch
from unmask.training.allocator import keep_freed_memory

BATCH, SIZE, PATCH, CHANNELS = 8, 224, 16, 3
DIM, DEPTH, HEADS = 384, 12, 6
RATIO = 0.75
DECODERS = {"published decoder 512 x 8": (512, 8, 16), "light decoder 128 x 2": (128, 2, 4)}
SIDE = 1536


def peak(dtype: torch.dtype) -> float:
    """FLOP per CPU second of a square matrix product."""
    left, right = torch.randn(2, SIDE, SIDE).to(dtype)
    return 2 * SIDE**3 / measure(lambda: left @ right, 9)


def transformer_flop(tokens: int, dim: int, depth: int) -> int:
    """Forward work of blocks: projections (4), MLP (8), weights times keys and values."""
    return depth * (2 * tokens * dim * dim * 12 + 4 * tokens * tokens * dim)


def step_flop(dim: int, depth: int) -> int:
    """Forward and backward work of one batch."""
    tokens, values = (SIZE // PATCH) ** 2, PATCH * PATCH * CHANNELS
    kept = int(tokens * (1 - RATIO))
    forward = 2 * tokens * values * DIM
    forward += transformer_flop(kept + 1, DIM, DEPTH)
    forward += 2 * (kept + 1) * DIM * dim
    forward += transformer_flop(tokens + 1, dim, depth)
    forward += 2 * (tokens - kept) * dim * values
    return 3 * BATCH * forward


def stepper(method: MAE, image: torch.Tensor, *, short: bool) -> Callable[[], torch.Tensor]:
    """One update as the training loop makes it."""
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-4, fused=True)

    def step() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            loss = method.step(Batch(image)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def check(method: MAE, image: torch.Tensor) -> None:
    """Both precisions give the same loss."""
    with torch.no_grad():
        exact = method.step(Batch(image)).loss.item()
        with torch.autocast("cpu", torch.bfloat16):
            short = method.step(Batch(image)).loss.item()
    assert abs(short - exact) < 0.01 * exact, (short, exact)


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    torch.manual_seed(0)
    image = torch.randn(BATCH, CHANNELS, SIZE, SIZE)
    peaks = {"f32": peak(torch.float32), "bf16": peak(torch.bfloat16)}
    rows = []
    for name, (dim, depth, heads) in DECODERS.items():
        backbone = ViT(2, CHANNELS, image=SIZE, patch=PATCH, dim=DIM, depth=DEPTH, heads=HEADS)
        method = MAE(backbone, decoder_dim=dim, decoder_depth=depth, decoder_heads=heads)
        steps = {form: stepper(method, image, short=form == "bf16") for form in peaks}
        check(method, image)
        seconds = interleave(steps, 3)
        work = step_flop(dim, depth)
        share = {form: work / seconds[form] / peaks[form] for form in peaks}
        rows.append(
            {
                "what": f"ViT-S/16 step, {name}",
                "ours": BATCH / seconds["bf16"],
                "peer": BATCH / seconds["f32"],
                "ratio": seconds["f32"] / seconds["bf16"],
                "floor": BATCH * peaks["bf16"] / work,
                "unit": "img/s",
                "note": f"ours bf16, peer our float32; share of the matrix product's speed: "
                f"bf16 {share['bf16']:.0%}, float32 {share['f32']:.0%}",
            }
        )
    write("mae", rows)


if __name__ == "__main__":
    main()
