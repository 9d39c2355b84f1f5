"""The trainings of a label curve, as jobs that can be sent to other processes.

Runs that are finished in their folder are not repeated.
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
from unmask.wording import format_count

# A training seeds the random numbers of its whole process, so a process runs one at a time.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Pretraining:
    """One pre-training.

    Attributes:
        recipe: recipe with a method.
        folder: folder of the run.
        images: images without labels.
    """

    recipe: Recipe
    folder: Path
    images: Paths

    @property
    def title(self) -> str:
        """What is trained, for the log."""
        return f"Pre-training: {self.recipe.name}, {self.recipe.train.steps} steps"

    def __call__(self) -> Path:
        """Pre-train if necessary and return the folder of the run."""
        if not is_done(self.folder, self.recipe):
            more = {"out": self.folder, "resume": _has_begun(self.folder)}
            api.pretrain(self.recipe, images=self.images, **more)
        return self.folder


@dataclass(frozen=True)
class Training:
    """One training of the curve.

    Attributes:
        recipe: recipe with a task.
        row: its row of the table, without metrics.
        folder: folder of the run.
        images: labeled images.
        labels: their labels, in the same order.
        val_images: images for validation.
        val_labels: their labels.
        init: model to start from; None for random weights.
    """

    recipe: Recipe
    row: Row
    folder: Path
    images: Sequence[str]
    labels: Sequence[str]
    val_images: Sequence[str]
    val_labels: Sequence[str]
    init: Path | None = None

    @property
    def title(self) -> str:
        """What is trained, for the log."""
        row = self.row
        return (
            f"Training: {row.start}, {format_count(row.labels, 'label')}, repeat {row.repeat}, "
            f"{self.recipe.train.steps} updates"
        )

    def __call__(self) -> Row:
        """Train if necessary and return the row with its metrics."""
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
    jobs: Sequence[Pretraining] | Sequence[Training],
    done: Callable[[Any], None],
    *,
    cluster: str | None,
    say: Callable[[str], None],
) -> None:
    """Run all jobs in order here, or in any order on workers.

    Args:
        jobs: what to run.
        done: receives each result.
        cluster: the workers; None runs the jobs here.
        say: receives the title of each job that is not finished yet, before its own lines; nothing
            with workers, whose lines are not shown either.

    Raises:
        RecipeError: there are no such workers.
        UnmaskError: the error of a job, which ends the others.
    """
    if cluster is None:
        # In the main thread: only it receives signals.
        for number, job in enumerate(jobs, 1):
            if not is_done(job.folder, job.recipe):
                say(f"{job.title} ({number} of {len(jobs)})")
            done(job())
    elif jobs:
        with scheduler(cluster) as run:
            run(_alone, jobs, done)


def is_done(folder: Path, recipe: Recipe) -> bool:
    """Whether a run has made its last step and its model is complete."""
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
