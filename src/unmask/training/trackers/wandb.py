"""Runs in Weights & Biases: files in the run folder, sent only if that is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from unmask.training.trackers.base import Tracked, require


class WandB:
    """One run of the project ``unmask``, without a connection.

    ``WANDB_MODE=online`` sends it while it runs; ``wandb sync RUN/wandb/offline-run-*`` sends it
    later. ``WANDB_PROJECT`` names another project.
    """

    def __init__(self) -> None:
        require("wandb", "wandb")
        self._run: Any = None

    def start(self, run: Tracked) -> None:
        """Begin the run, with the recipe as its configuration."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        identity = run.recall("wandb") or uuid4().hex[:12]
        run.remember("wandb", identity)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "unmask"),
            name=run.name,
            id=identity,
            resume="allow",
            dir=str(run.folder),
            config=run.settings(),
            # Online, it would ask for a key on the terminal and wait.
            mode=os.environ.get("WANDB_MODE", "offline"),  # pyright: ignore[reportArgumentType]
            # Neither the terminal nor code leaves this computer.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True
            ),
        )
        # A resumed run repeats steps, which the tracker's own count would refuse.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers."""
        self._run.log({**numbers, "step": step})

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Add a picture."""
        import wandb

        self._run.log({f"pictures/{name}": wandb.Image(pixels), "step": step})

    def close(self, *, failed: bool) -> None:
        """Write what is left."""
        self._run.finish(exit_code=int(failed), quiet=True)
