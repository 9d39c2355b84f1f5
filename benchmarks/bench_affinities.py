"""The loss within an embedding, compared with rolling and multiplying it for each offset.

    PYTHONPATH=src:benchmarks python benchmarks/bench_affinities.py

The peer is the plain form in eager PyTorch: unit vectors, one rolled copy an offset, a product
summed over channels, balanced squared errors, all through autograd. Values and gradients of both
are compared before the clock starts. Memory is the highest sum of live tensors beyond the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import harness
from unmask.tasks.cosine import Rule, affinities, pair_loss

SPACE = (18, 160, 160)
OFFSETS = [
    tuple(-far * (axis == along) for axis in range(3))
    for ranges in ((1, 1, 1), (2, 3, 3), (3, 9, 9), (4, 27, 27))
    for along, far in enumerate(ranges)
]
REPEATS = 3


def inputs() -> tuple[Tensor, Tensor]:
    """An embedding of 16 channels, and ids of blocks."""
    source = torch.Generator().manual_seed(0)
    embedding = torch.randn((1, 16, *SPACE), generator=source)
    ids = torch.arange(8 * 8).view(1, 1, 1, 8, 8).float()
    values = F.interpolate(ids, SPACE, mode="nearest") + 1
    return embedding, values


def peer_affinities(embedding: Tensor) -> Tensor:
    """Rolled copies of unit vectors."""
    unit = F.normalize(embedding, dim=1)
    axes = (2, 3, 4)
    moved = (torch.roll(unit, [-step for step in offset], axes) for offset in OFFSETS)
    return torch.stack([(unit * other).sum(1) for other in moved], 1)


def peer_loss(embedding: Tensor, values: Tensor) -> Tensor:
    """Mean balanced squared error of every offset over the pairs that exist."""
    unit = F.normalize(embedding, dim=1)
    total = embedding.new_zeros(())
    for offset in OFFSETS:
        back = [-step for step in offset]
        cosine = (unit * torch.roll(unit, back, (2, 3, 4))).sum(1)
        same = (values == torch.roll(values, back, (2, 3, 4)))[:, 0].float()
        exists = torch.zeros_like(same)
        exists[(..., *(slice(max(0, -step), None) for step in offset))] = 1
        count, joined = exists.sum(), (same * exists).sum()
        share = (joined / count).clamp(0.05, 0.99)
        rare = share / (1 - share) if share > 0.5 else (1 - share) / share
        common = (same if share > 0.5 else 1 - same).bool()
        weight = torch.where(common, 1.0, rare) * exists
        if joined in (0, count):
            weight = exists
        total = total + (weight * (cosine - same) ** 2).sum() / count
    return total


class Live(TorchDispatchMode):
    """Highest number of bytes of live tensors inside the ``with`` block, less those ``known``."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known = known
        self.sizes: dict[int, tuple[Any, int]] = {}
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count the storages that exist after every operation."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.known:
                    self.sizes[storage._cdata] = (storage._weak_ref(), storage.nbytes())
        alive = {
            key: entry
            for key, entry in self.sizes.items()
            if not torch.UntypedStorage._expired(entry[0])
        }
        self.sizes = alive
        self.most = max(self.most, sum(size for _, size in alive.values()))
        return result


def main() -> None:
    """Check, time, measure memory, write ``affinities.json``."""
    torch.set_num_threads(1)
    embedding, values = inputs()
    weight = torch.ones_like(values)

    def ours(given: Tensor) -> Tensor:
        return pair_loss(given, values, weight, offsets=OFFSETS, rule=Rule())

    def both(loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        given = embedding.clone().requires_grad_()
        value = loss(given)
        (gradient,) = torch.autograd.grad(value, given)
        return value, gradient

    for one, two in zip(both(ours), both(lambda x: peer_loss(x, values)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-6)
    steps = harness.interleave(
        {"ours": lambda: both(ours), "peer": lambda: both(lambda x: peer_loss(x, values))}, REPEATS
    )
    reading = harness.interleave(
        {
            "ours": lambda: affinities(embedding, OFFSETS),
            "peer": lambda: peer_affinities(embedding),
        },
        REPEATS,
    )
    rows = [
        harness.row("loss and gradient, 12 offsets, 16 x 18 x 160 x 160", steps),
        harness.row("affinities, 12 offsets, 16 x 18 x 160 x 160", reading),
        *memory_rows(values, weight),
    ]
    harness.write("affinities", rows)


def memory_rows(values: Tensor, weight: Tensor) -> list[dict[str, Any]]:
    """Bytes beyond what the caller holds anyway, as multiples of the embedding."""
    other = inputs()[0]
    held = {t.untyped_storage()._cdata for t in (values, weight, other)}

    def ours(given: Tensor, across: Tensor | None = None) -> Tensor:
        return pair_loss(given, values, weight, offsets=OFFSETS, rule=Rule(), other=across)

    plain = {"ours": ours, "peer": lambda x: peer_loss(x, values)}
    alone = {
        "memory of loss and gradient, with a weight": lambda x: 0.5 * ours(x),
        "memory of loss and gradient, across views": lambda x: ours(x, other),
        "memory of affinities": lambda x: affinities(x, OFFSETS),
    }
    first = {name: memory(loss, held) for name, loss in plain.items()}
    rows = [harness.row("memory of loss and gradient", first, unit="embeddings")]
    for what, loss in alone.items():
        rows.append(harness.row(what, {"ours": memory(loss, held)}, unit="embeddings"))
    return rows


def memory(loss: Callable[[Tensor], Tensor], held: set[int]) -> float:
    """Highest number of bytes beyond the embedding and ``held``, as a multiple of it."""
    given = inputs()[0].requires_grad_()
    with Live({given.untyped_storage()._cdata, *held}) as live:
        value = loss(given)
        if value.requires_grad:
            torch.autograd.grad(value, given)
    return live.most / (given.numel() * given.element_size())


if __name__ == "__main__":
    main()
