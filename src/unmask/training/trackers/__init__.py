"""Trackers of trainings: where the lines of the journal go besides the run folder."""

from __future__ import annotations

from collections.abc import Iterable

from unmask.errors import MissingPackageError, RecipeError
from unmask.lookup import find
from unmask.parts import Parts
from unmask.training.trackers.base import Tracked, Tracker

TRACKERS = Parts(
    "unmask.trackers",
    {
        "mlflow": "unmask.training.trackers.mlflow:MLflow",
        "wandb": "unmask.training.trackers.wandb:WandB",
    },
)

__all__ = ["TRACKERS", "Tracked", "Tracker", "build_trackers"]


def build_trackers(names: Iterable[str]) -> list[Tracker]:
    """The trackers of a recipe (``train.trackers``); nothing is sent or written yet.

    Raises:
        RecipeError: unknown names; all of them at once.
        MissingPackageError: the package of a tracker is not installed.
    """
    trackers: list[Tracker] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            trackers.append(find(name, TRACKERS, "train.trackers")())
        except MissingPackageError:
            raise
        except RecipeError as error:
            problems.append(str(error))
    if problems:
        raise RecipeError("\n".join(problems), problems)
    return trackers
