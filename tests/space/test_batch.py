"""Batches travel to a GPU without making the host wait."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unmask.api import runs
from unmask.space.batch import Batch


@pytest.fixture
def moves(monkeypatch):
    """Names of the moves of tensors, in order."""
    seen = []

    def pin(tensor):
        seen.append("pin")
        return tensor

    def to(tensor, place, *, non_blocking=False):
        seen.append(("to", str(place), non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", to)
    return seen


def test_every_tensor_is_copied_without_waiting(moves):
    batch = Batch(*(torch.zeros(1, 1, 2) for _ in range(3)), seed=7)
    assert batch.to("cuda:1").seed == 7
    assert moves == 3 * [("to", "cuda:1", True)]


@pytest.mark.parametrize(("device", "pinned"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_batches_for_a_gpu_are_pinned_where_they_are_made(device, pinned, moves):
    crops: Any = SimpleNamespace(batch=lambda number: Batch(torch.zeros(1, 1, 2), seed=number))
    fabric: Any = SimpleNamespace(device=torch.device(device), world_size=2, global_rank=1)
    stream = runs._stream(crops, fabric, 0, {}, (), start=1)
    assert next(stream).seed == 3
    assert moves == (["pin"] if pinned else [])
