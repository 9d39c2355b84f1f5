"""Contract of a tracker: what it receives of a run, and how a third party adds one.

A tracker is a class without arguments, in a file of its own (``train.trackers=[mine.py:Mine]``) or
registered in the group of entry points ``unmask.trackers``. Whatever it raises ends the tracking
with one warning, and never the training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from unmask.atomic import atomic_write
from unmask.errors import MissingPackageError

_FILE = "trackers.json"


@dataclass(frozen=True)
class Tracked:
    """The run that a tracker follows.

    Attributes:
        folder: run folder.
        title: names one of several trainings, such as "fold 2 of 5"; otherwise empty.
        step: updates that are done already; above 0 if the run is resumed.
        recipe: the recipe as plain values.
    """

    folder: Path
    title: str = ""
    step: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run for people."""
        return f"{self.folder.parent.name} {self.title}" if self.title else self.folder.name

    def settings(self) -> dict[str, str | int | float | bool | None]:
        """The recipe as one level of dotted names, such as ``train.steps``."""
        flat: dict[str, str | int | float | bool | None] = {}
        _flatten(self.recipe, "", flat)
        return flat

    def remember(self, tracker: str, identity: str) -> None:
        """Keep the tracker's own name of the run, so that a resumed run continues it."""
        text = json.dumps({**self._known(), tracker: identity}, indent=1)
        atomic_write(self.folder / _FILE, text)

    def recall(self, tracker: str) -> str | None:
        """The tracker's own name of a run that is resumed; None: a new run."""
        return self._known().get(tracker) if self.step else None

    def _known(self) -> dict[str, str]:
        try:
            known = json.loads((self.folder / _FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


@runtime_checkable
class Tracker(Protocol):
    """What the journal calls, in this order; ``start`` comes before the first line."""

    def start(self, run: Tracked) -> None:
        """Begin to track a run, or continue if it is resumed."""
        ...

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one line of the journal, such as ``loss`` or ``f1@0.5``."""
        ...

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """A picture ``(y, x, 3)`` of bytes."""
        ...

    def close(self, *, failed: bool) -> None:
        """End the run."""
        ...


def require(package: str, extra: str) -> None:
    """Make sure that a package is there, without the seconds that its import takes.

    Raises:
        MissingPackageError: it is not.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f"train.trackers=[{extra}]: expected the package {package}, found none. "
            f"Install it with: pip install 'unmask[{extra}]'"
        )


def _flatten(value: Any, name: str, flat: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _flatten(item, f"{name}.{key}" if name else str(key), flat)
    elif value is None or isinstance(value, str | int | float | bool):
        flat[name] = value
    else:
        flat[name] = json.dumps(value, default=str)
