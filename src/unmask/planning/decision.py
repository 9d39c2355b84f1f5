"""One choice of a plan: a field of the recipe, its value, the reason, and how sure it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decision:
    """A field that a plan fills in.

    Attributes:
        field: of the recipe, such as ``data.crop``.
        value: as JSON has it.
        reason: why, with the measured number, as a sentence without its end.
        sure: whether the evidence is strong; otherwise ``otherwise`` says what to change.
        otherwise: the setting to give if the assumption is wrong; "" if there is none.
    """

    field: str
    value: Any
    reason: str
    sure: bool = True
    otherwise: str = ""

    @property
    def setting(self) -> str:
        """The choice as ``--set`` takes it."""
        return f"{self.field}={json.dumps(self.value)}"

    @property
    def doubt(self) -> str:
        """What to do if an unsure assumption is wrong; "" if it is sure."""
        if self.sure:
            return ""
        return f"Not sure; if this is wrong: {self.otherwise}." if self.otherwise else "Not sure."

    def __str__(self) -> str:
        reason = f"{self.reason[0].upper()}{self.reason[1:]}."
        return f"{self.field} = {_short(self.value)}. {reason} {self.doubt}".rstrip()


def _short(value: Any) -> str:
    """The value without the options of components, which the recipe shows."""
    if isinstance(value, dict):
        return str(value["name"])
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return ", ".join(map(_short, value))
        return f"[{', '.join(map(_short, value))}]"
    return "none" if value is None else str(value)


def unit(ndim: int) -> str:
    """What the points of an image are called: pixels of planes, voxels of volumes."""
    return "pixels" if ndim < 3 else "voxels"


def whole(value: float, *, least: int = 1) -> int:
    """A whole number of at least ``least``."""
    return max(least, round(value))


def multiple(value: float, of: int, *, least: int = 1) -> int:
    """The multiple of ``of`` that is nearest to ``value``, at least ``least`` of them."""
    return max(least, round(value / of)) * of
