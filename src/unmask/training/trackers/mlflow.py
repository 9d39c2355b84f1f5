"""Runs in MLflow: a database file in the working folder, or the server that its variables name."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmask.training.trackers.base import Tracked, require

_EXPERIMENT = "unmask"
# Limits of MLflow: characters of one value, and parameters of one request.
_LONGEST, _AT_ONCE = 500, 100


class MLflow:
    """One run of the experiment ``unmask``.

    ``MLFLOW_TRACKING_URI`` names another server or file, ``MLFLOW_EXPERIMENT_NAME`` another
    experiment.
    """

    def __init__(self) -> None:
        require("mlflow", "mlflow")
        self._client: Any = None
        self._run = ""

    def start(self, run: Tracked) -> None:
        """Make the run, with the recipe as its parameters."""
        # Usage statistics are sent only if a user asks for it.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # The first use of a database prints a line per migration.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        known = run.recall("mlflow")
        if known is not None:
            self._run = known
            self._client.update_run(known, status="RUNNING")
            return
        made = self._client.create_run(self._experiment(), run_name=run.name)
        self._run = made.info.run_id
        run.remember("mlflow", self._run)
        values = [Param(name, str(value)[:_LONGEST]) for name, value in run.settings().items()]
        for first in range(0, len(values), _AT_ONCE):
            self._client.log_batch(self._run, params=values[first : first + _AT_ONCE])

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers, all in one request."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_rename(name), value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Add a picture."""
        self._client.log_image(self._run, pixels, key=name, step=step)

    def close(self, *, failed: bool) -> None:
        """Mark the run as finished or failed."""
        self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        return self._client.create_experiment(name) if found is None else found.experiment_id


def _rename(metric: str) -> str:
    """MLflow allows no ``@`` in names, as in f1@0.5."""
    return metric.replace("@", "_at_")
