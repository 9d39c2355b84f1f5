"""A GPU without a GPU: tensors on PyTorch's meta device, whose copies to the host are counted."""

from __future__ import annotations

import importlib
import traceback
from contextlib import nullcontext
from math import prod

import pytest
import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from unmask.models import precision
from unmask.pretraining import masks

aten = torch.ops.aten
# Their results have sizes that the device alone knows, so that the host waits for it.
_DATA_DEPENDENT = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.equal.default,
    aten.is_nonzero.default,
}


class HiddenCopyError(AssertionError):
    """The host waits for the device where nobody expects it."""


class FakeGpu(TorchDispatchMode):
    """Runs on the meta device; copies to the host give zeros and are noted.

    Attributes:
        copies: where each copy to the host was made.
        wide: where each tensor of float64 was made, which Apple's GPUs do not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []
        self.wide: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = self._run(func, args, kwargs)
        for x in _pytree.tree_leaves(result):
            if isinstance(x, torch.Tensor) and x.is_meta and x.dtype == torch.float64:
                self.wide.append(f"{func} {_place()}")
        return result

    def _run(self, func, args, kwargs):
        kwargs = kwargs or {}
        leaves = _pytree.tree_leaves((args, kwargs))
        on_device = [x for x in leaves if isinstance(x, torch.Tensor) and x.is_meta]
        if not on_device:
            return func(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            self._note(func)
            return _zero(on_device[0].dtype)
        place = kwargs.get("device")
        if place is not None and torch.device(place).type != "meta":
            self._note(func)
            shape, dtype = on_device[0].shape, kwargs.get("dtype") or on_device[0].dtype
            return torch.zeros(shape, dtype=dtype)
        if func is aten.copy_.default and not args[0].is_meta:
            self._note(func)
            return args[0].zero_()
        picks = func in (aten.index.Tensor, aten.index_put_.default)
        if func in _DATA_DEPENDENT or (picks and any(x.dtype == torch.bool for x in on_device)):
            raise HiddenCopyError(f"{func}: the size of its result is on the device\n{_place()}")
        return func(*args, **kwargs)

    def _note(self, func) -> None:
        self.copies.append(f"{func} {_place()}")


def _zero(dtype):
    return False if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0


def _place() -> str:
    frames = [f for f in traceback.extract_stack() if f"{'unmask'}/" in f.filename]
    return " < ".join(f"{f.name}:{f.lineno}" for f in reversed(frames[-4:]))


@pytest.fixture
def fake_gpu(monkeypatch):
    """The fake device; what the meta device lacks is replaced by what a GPU would do."""
    autocast = torch.autocast

    def on_any_device(kind, *args, **more):
        return nullcontext() if kind == "meta" else autocast(kind, *args, **more)

    def draw(batch, grid, *, ratio, seed, block=None, device="cpu"):
        return masks.split(torch.rand(batch, prod(grid), device=device), ratio)

    monkeypatch.setattr(torch, "autocast", on_any_device)
    monkeypatch.setattr(precision, "has_bf16", lambda kind: False)
    monkeypatch.setattr(masks, "draw", draw)
    # Meta has the fused kernels, but is not on PyTorch's list of devices that have them.
    adam = importlib.import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    with FakeGpu() as device:
        yield device
