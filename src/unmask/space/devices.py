"""Where networks run: the device of a name, and one device per worker."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from unmask.errors import RecipeError, message

_GIVEN: ContextVar[torch.device | None] = ContextVar("device", default=None)


def find_device(name: str = "auto") -> torch.device:
    """The device of a name; ``auto`` is the GPU if there is one.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        RecipeError: this machine has no such device.

    Examples:
        >>> find_device("cpu")
        device(type='cpu')
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    own = _GIVEN.get()
    if name == "auto":
        return own or (torch.device("cpu") if found is None else found)
    if own is not None and name == own.type:
        # A type without a number, such as cuda: workers still have one device each.
        return own
    count = 0 if found is None else torch.accelerator.device_count()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is not None:
        there = found is not None and device.type == found.type and (device.index or 0) < count
        if device.type == "cpu" or there:
            return device
    names = ["cpu", *(f"{found.type}:{number}" for number in range(count) if found is not None)]
    raise RecipeError(
        message(
            f"--device {name}",
            expected=f"auto or a device of this machine ({', '.join(names)})",
            found="none of them",
            do="Leave --device out, or see `unmask info`.",
        )
    )


@contextmanager
def on_device(device: torch.device) -> Generator[None, None, None]:
    """Inside the ``with`` block, ``auto`` is this device."""
    token = _GIVEN.set(device)
    try:
        yield
    finally:
        _GIVEN.reset(token)
