"""Where a predictor comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """What a predictor was loaded from: another process can load it again.

    Attributes:
        models: absolute paths of model files or runs, or names of shipped models.
        settings: changes to the first model's recipe.
        allow_code: the user allows that code of the models runs.
        device: name of the device; ``auto`` is another one for every worker.
    """

    models: tuple[str, ...]
    settings: tuple[str, ...] = ()
    allow_code: bool = False
    device: str = "auto"
