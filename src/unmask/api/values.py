"""What the verbs share: how models and settings may be given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

Settings = Iterable[str]
Say = Callable[[str], None]
ModelLike = str | Path
