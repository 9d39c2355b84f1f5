"""The trainings of a label curve: what each needs, and its figures once it is done.

A job can be sent to another process; what a run folder holds already is not done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unmask import api, checkpoint
from unmask.apps.curve_table import Row
from unmask.blocks.scheduler import scheduler
from unmask.checkpoint.model import MODEL_FILE
from unmask.data.pairs import Paths
from unmask.errors import UnmaskError
from unmask.recipe import Recipe

# A training seeds the chance of its whole process: two of them must not share one at a time.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Pretraining:
    """One pre-training.

    Attributes:
        recipe: with a method.
        folder: of the run.
        images: unlabelled images.
    """

    recipe: Recipe
    folder: Path
    images: Paths

    def __call__(self) -> Path:
        """The folder of the finished run."""
        if not is_done(self.folder, self.recipe):
            more = {"out": self.folder, "resume": _has_begun(self.folder)}
            api.pretrain(self.recipe, images=self.images, **more)
        return self.folder


@dataclass(frozen=True)
class Training:
    """One training of the curve.

    Attributes:
        recipe: with a task.
        row: what it is; without figures.
        folder: of the run.
        images: labelled images.
        labels: their labels, in the same order.
        val_images: images of the validation.
        val_labels: their labels.
        init: model to start from; None for fresh weights.
    """

    recipe: Recipe
    row: Row
    folder: Path
    images: Sequence[str]
    labels: Sequence[str]
    val_images: Sequence[str]
    val_labels: Sequence[str]
    init: Path | None = None

    def __call__(self) -> Row:
        """The row with its figures."""
        if not is_done(self.folder, self.recipe):
            api.train(
                self.recipe,
                images=self.images,
                labels=self.labels,
                val_images=self.val_images,
                val_labels=self.val_labels,
                out=self.folder,
                init=self.init,
                resume=_has_begun(self.folder),
            )
        metrics: dict[str, float | None] = checkpoint.load_model(self.folder).card["metrics"]
        return replace(self.row, metrics=metrics)


def run_all(
    jobs: Sequence[Callable[[], Any]], done: Callable[[Any], None], *, cluster: str | None
) -> None:
    """Call every job, and ``done`` with each result, here in this order or on a cluster in any.

    Raises:
        RecipeError: there is no such cluster.
        UnmaskError: what a job raised; it ends the others.
    """
    if cluster is None:
        # In the main thread: signals are heard nowhere else.
        for job in jobs:
            done(job())
    elif jobs:
        with scheduler(cluster) as run:
            run(_alone, jobs, done)


def is_done(folder: Path, recipe: Recipe) -> bool:
    """Whether a run has made its last update and its model is whole."""
    if not (folder / MODEL_FILE).is_file():
        return False
    try:
        card = checkpoint.load_model(folder).card
    except UnmaskError:
        return False
    done = card.get("step") == recipe.train.steps
    return done and (recipe.task is None or bool(card.get("metrics")))


def _alone(job: Callable[[], Any]) -> Any:
    with _ONE_AT_A_TIME:
        return job()


def _has_begun(folder: Path) -> bool:
    return (folder / "recipe.yaml").is_file()
