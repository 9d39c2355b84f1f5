"""A GL-MAE step against the sum of its floating-point operations at the matrix product's speed.

ViT-Small with patches of 8^3, 2 global views of 64^3 and 4 local views of 32^3 of crops of 80^3,
batch 2, light decoder 128 x 2, fused AdamW, one thread. Work is counted from the shapes of the
matrix products, backward as twice forward, the teacher forward alone. ``ratio`` is the time of that
work over ours; the goal is 0.87, a step of 1.15 times its work. Data are crops of two volumes in
memory, made in the same thread; in training a loader's thread hides them.
"""

from __future__ import annotations

import resource
from collections.abc import Callable

import numpy as np
import torch

from bench_mae import peak, transformer_flop
from harness import interleave, write
from unmask.data.crops import CropPlan, Crops
from unmask.data.normalize import ZScore
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.models import ViT
from unmask.pretraining.glmae import GLMAE
from unmask.space.batch import Batch
from unmask.space.random import generator
from unmask.training.allocator import keep_freed_memory

BATCH, CROP, PATCH = 2, 80, 8
VIEWS, SIZES = (2, 4), (64, 32)
DIM, DEPTH, HEADS = 384, 12, 6
DECODER, LAYERS = 128, 2
HIDDEN, WIDTH, PROTOTYPES = 2048, 256, 4096
RATIO = 0.6


def view_flop(size: int) -> int:
    """Forward work of the student on one view: encoder, decoder, head."""
    tokens, values = (size // PATCH) ** 3, PATCH**3
    kept = int(tokens * (1 - RATIO))
    work = 2 * tokens * values * DIM + transformer_flop(kept + 1, DIM, DEPTH)
    work += 2 * (kept + 1) * DIM * DECODER + transformer_flop(tokens + 1, DECODER, LAYERS)
    return work + 2 * (tokens - kept) * DECODER * values + head_flop()


def head_flop() -> int:
    """Forward work of the projection of one class token."""
    return 2 * (DIM * HIDDEN + HIDDEN * HIDDEN + HIDDEN * WIDTH + WIDTH * PROTOTYPES)


def step_flop() -> int:
    """All work of one batch."""
    student = sum(count * view_flop(size) for count, size in zip(VIEWS, SIZES, strict=True))
    tokens = (SIZES[0] // PATCH) ** 3
    teacher = 2 * tokens * PATCH**3 * DIM + transformer_flop(tokens + 1, DIM, DEPTH) + head_flop()
    return BATCH * (3 * student + VIEWS[0] * teacher)


def build() -> GLMAE:
    torch.manual_seed(0)
    backbone = ViT(3, 1, image=SIZES[0], patch=PATCH, dim=DIM, depth=DEPTH, heads=HEADS)
    return GLMAE(
        backbone,
        views=VIEWS,
        global_size=SIZES[0],
        local_size=SIZES[1],
        decoder_dim=DECODER,
        decoder_depth=LAYERS,
        mask_ratio=RATIO,
        hidden=HIDDEN,
        width=WIDTH,
        prototypes=PROTOTYPES,
        head_norm=True,
    )


def source() -> Crops:
    """Crops of two volumes in memory, as pre-training takes them."""
    rng = generator(0, "bench")
    arrays = [rng.integers(0, 2000, (96, 128, 128)).astype(np.int16) for _ in range(2)]
    pairs = [Pair(str(n), Image.from_array(each, ndim=3)) for n, each in enumerate(arrays)]
    plan = CropPlan(crop=(CROP,) * 3, channels=1, batch_size=BATCH, foreground=0.0)
    return Crops(pairs, plan, normalize=ZScore())


def stepper(method: GLMAE, batch: Batch, *, short: bool) -> Callable[[], None]:
    """One update as the training loop makes it."""
    learned = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            loss = method.step(batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 3.0)
        optimizer.step()
        optimizer.zero_grad()
        method.after_update()

    return step


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    crops, method = source(), build()
    batch = crops.batch(0)
    peaks = {"bf16": peak(torch.bfloat16), "f32": peak(torch.float32)}
    steps = {form: stepper(method, batch, short=form == "bf16") for form in peaks}
    seconds = interleave({**steps, "data": lambda: crops.batch(1)}, 5)
    used = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6
    rows = []
    for form, speed in peaks.items():
        best = step_flop() / speed
        note = (
            f"{step_flop() / 1e9:.0f} GFLOP at {speed / 1e9:.0f} GFLOP/s; "
            f"data {seconds['data'] / seconds[form]:.1%} of the step; peak memory {used:.1f} GB"
        )
        row = {"what": f"GL-MAE step, ViT-S/8, {form}", "ours": seconds[form], "peer": best}
        rows.append({**row, "ratio": best / seconds[form], "unit": "s", "note": note})
    write("glmae", rows)


if __name__ == "__main__":
    main()
