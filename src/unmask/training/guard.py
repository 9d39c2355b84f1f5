"""What ends or spoils a step: numbers that are not finite, and signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from unmask import interruption
from unmask.errors import UnmaskError

_LOOK_EVERY = 16


class TrainingError(UnmaskError):
    """Training cannot continue; the message names the step and what to change."""


class Stop:
    """Listens to SIGINT, SIGTERM and SIGUSR1 inside a ``with`` block.

    The first signal is noted, so that the step ends and the run is saved; a second Ctrl-C ends the
    process at once, which harms nothing because every file is written aside.
    """

    def __init__(self) -> None:
        self._code = 0
        self._before: dict[int, Any] = {}

    @property
    def code(self) -> int:
        """The first signal's code, or that of an earlier request or one to this thread."""
        return self._code or interruption.code()

    def __enter__(self) -> Stop:
        # Python delivers signals to the main thread and lets no other one ask for them.
        if threading.current_thread() is threading.main_thread():
            numbers = interruption.signals()
            self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.code and number == signal.SIGINT:
            interruption.end_at_once()
        self._code = self.code or interruption.code_of(number)


def skips_on_device(optimizer: Optimizer) -> bool:
    """Whether an optimizer takes ``found_inf``, a number on the device that is 0 for a good step.

    PyTorch's mixed precision asks for the same attribute.
    """
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


class Guard:
    """Takes optimizer steps, except where loss or gradient is not finite.

    A skipped step changes nothing: weights and moments keep their values, and the running
    statistics of batch norms, which the forward pass has touched, are put back. On a GPU the
    device decides and the host looks only every 16 steps, if the optimizer takes
    ``found_inf`` as PyTorch's fused ones do. Statistics that are not finite are then put back to
    those of the last look; those of a finite forward pass stay, as in PyTorch's mixed precision.

    Args:
        module: the objective.
        optimizer: the bare optimizer, for what its kernel can do.
        limit: bad steps in a row that end the run; 0 ends it at the first one.
        scaled: the loss is scaled (16-bit floats): the scaler skips and has to be informed.
        deferred: the device decides; None: if it is a GPU and the optimizer can.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        *,
        limit: int,
        scaled: bool = False,
        deferred: bool | None = None,
    ) -> None:
        self._raw = optimizer
        self._limit = max(1, limit)
        self._scaled = scaled
        self._running = [
            buffer
            for part in module.modules()
            if isinstance(part, _NormBase)
            for buffer in part.buffers(recurse=False)
        ]
        self._saved: list[Tensor] = []
        device = next(module.parameters()).device
        able = device.type != "cpu" and skips_on_device(optimizer)
        self.deferred = able if deferred is None else deferred
        self._streak = torch.zeros((), device=device)
        self._worst = torch.zeros((), device=device)
        self._total = torch.zeros((), device=device)
        if self.deferred:
            self._keep_statistics()

    def before(self) -> None:
        """Keep what the forward pass is going to change, if this step may be undone at once."""
        if not self.deferred:
            self._keep_statistics()

    def _keep_statistics(self) -> None:
        self._saved = [buffer.clone() for buffer in self._running]

    def step(self, optimizer: Any, bad: Tensor) -> bool:
        """Step unless ``bad`` (a scalar on the device, not 0 for a bad step); False if skipped.

        In the deferred way the answer is always True: nobody has looked yet.
        """
        bad = (bad != 0).to(self._streak.dtype)
        self._streak = (self._streak + bad) * bad
        self._worst = torch.maximum(self._worst, self._streak)
        self._total = self._total + bad
        if self.deferred:
            # A scaler gives the optimizer its own flag: whether a gradient is not finite.
            if not self._scaled:
                self._raw.grad_scale, self._raw.found_inf = None, bad  # type: ignore[attr-defined]
            optimizer.step()
            return True
        if not bad.item():
            optimizer.step()
            return True
        if self._scaled:
            optimizer.step()
        for buffer, saved in zip(self._running, self._saved, strict=True):
            buffer.copy_(saved)
        return False

    def check(self, step: int, *, now: bool = False) -> None:
        """End the run after too many bad steps in a row.

        Where looking makes the device wait, it is done every 16 steps, or ``now``.

        Raises:
            TrainingError: too many.
        """
        if self.deferred and not now and step % _LOOK_EVERY:
            return
        self.settle()
        row = int(self._worst.item())
        if row >= self._limit:
            raise TrainingError(
                f"Training stopped at step {step}: expected a finite loss and gradient, found NaN "
                f"or infinity {row} times in a row; the weights were not changed by them. Lower "
                "train.lr, lengthen train.warmup, set train.precision=32, or look for odd values "
                "with `unmask check`."
            )

    def settle(self) -> None:
        """Put back statistics that are not finite; before other code reads the module.

        Where the host decides about every step, nothing is left to do.
        """
        if not self.deferred:
            return
        with torch.no_grad():
            for buffer, saved in zip(self._running, self._saved, strict=True):
                if buffer.is_floating_point():
                    buffer.copy_(torch.where(torch.isfinite(buffer).all(), buffer, saved))
        self._keep_statistics()

    def skipped(self) -> int:
        """Steps skipped since the start of the run."""
        return int(self._total.item())

    def state(self) -> dict[str, float]:
        """Counters for a snapshot."""
        return {"streak": self._streak.item(), "total": self._total.item()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from counters of a snapshot."""
        self._streak.fill_(state["streak"])
        self._total.fill_(state["total"])
