"""Dense features of MAESTER's network: cost of a pixel in every quality, and how close they are.

The image is noise of several scales; windows, batches and placing are all inside the clock. The
peer is the same window loop with the published encoder, measured once on this kind of machine
(2127 us a pixel, one core); floors are 177 MFLOP a pixel at the matrix products of one core.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy import ndimage

from harness import row, write
from unmask.clustering.dense import Dense
from unmask.models import ViT
from unmask.models.precision import Precision
from unmask.space.box import Box
from unmask.space.pad import pad_reads

SIDE = {"exact": 40, "fast": 80, "draft": 160}
PUBLISHED_US = 2127.0
MFLOP = {"exact": 177.0, "fast": 44.2, "draft": 1.8}


def texture(side: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    layers = [ndimage.gaussian_filter(rng.random((side, side)), sigma) for sigma in (0, 2, 6)]
    total = sum(layer / layer.std() for layer in layers)
    return ((total - total.min()) / np.ptp(total)).astype(np.float32)[None]


def network() -> ViT:
    torch.manual_seed(0)
    return ViT(
        2,
        1,
        image=80,
        patch=5,
        dim=192,
        depth=14,
        heads=1,
        mlp_ratio=2.0,
        position_scale=0.08,
    ).eval()


def compute(dense: Dense, image: np.ndarray, box: Box) -> np.ndarray:
    space = image.shape[1:]
    read = pad_reads(lambda part: image[:, *part.slices], space, mode="reflect")
    return dense.compute(read, space, box).flatten(0, -2).numpy()


def cost(dense: Dense, image: np.ndarray, box: Box, repeats: int) -> float:
    """CPU microseconds a pixel, the fastest of some runs."""
    compute(dense, image, box)
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        compute(dense, image, box)
        best = min(best, time.process_time() - begin)
    return best / box.size * 1e6


def matmul_peak(dtype: torch.dtype) -> float:
    """FLOP a second of one large matrix product."""
    a, b = (torch.rand(2048, 2048).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        begin = time.process_time()
        torch.mm(a, b)
        best = min(best, time.process_time() - begin)
    return 2 * 2048**3 / best


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(axis=1) / norms


def main() -> None:
    torch.set_num_threads(1)
    backbone, image = network(), texture(240)
    middle = Box((80, 80), (120, 120))
    truth = compute(Dense(backbone, precision="32"), image, middle)
    peaks = {"32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}
    rows = []
    cases: list[tuple[Precision, str]] = [
        ("32", "exact"),
        ("bf16", "exact"),
        ("bf16", "fast"),
        ("bf16", "draft"),
    ]
    for precision, quality in cases:
        dense = Dense(backbone, quality=quality, precision=precision)
        side = SIDE[quality]
        box = Box((0, 0), (side, side))
        us = cost(dense, image, box, 3 if quality != "exact" else 2)
        near = cosine(compute(dense, image, middle), truth)
        share = MFLOP[quality] * 1e6 / (us / 1e6) / peaks[precision]
        if quality == "exact":
            assert near.min() > 0.999
        note = (
            f"cosine to exact float32: mean {near.mean():.4f}, least {near.min():.4f}; "
            f"{share:.0%} of the matrix product's speed"
        )
        times = {"ours": us, "peer": PUBLISHED_US}
        floor = MFLOP[quality] * 1e12 / peaks[precision]
        rows.append(row(f"{quality}, {precision}", times, floor=floor, unit="us/pixel", note=note))
    write("features", rows)


if __name__ == "__main__":
    main()
