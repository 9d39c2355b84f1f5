"""Arguments of ``unmask train`` for a round; a later round starts from the model of the last one.

Without a recipe of the person who started the server, the command is that of `unmask train`
without ``--preset``: it measures the labels, plans, and chooses its own start weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from unmask.errors import UnmaskError
from unmask.recipe import Recipe, load
from unmask.serve.processes import Job
from unmask.serve.rounds import TrainingSet

MINUTES = 2.0
Begin = Literal["auto", "new"]


@dataclass(frozen=True)
class Defaults:
    """Options of ``unmask serve``.

    Attributes:
        preset: recipe of trainings; None: a plan is made from the labels.
        settings: ``KEY=VALUE`` changes of the recipe.
        model: model of predictions; None: the last one that was trained, else a shipped one.
        seconds: time limit of a prediction; None: no limit.
        init: weights of trainings that do not begin with the last model, as for `unmask train`.
    """

    preset: str | None = None
    settings: tuple[str, ...] = ()
    model: str | None = None
    seconds: float | None = None
    init: str = "auto"

    def sets(self, field: str) -> bool:
        """Whether a field, or a part of it, is among the settings."""
        names = [line.partition("=")[0].strip() for line in self.settings]
        return any(name == field or name.startswith(f"{field}.") for name in names)


@dataclass(frozen=True)
class Effort:
    """Length of a round, and its initial weights.

    Attributes:
        minutes: time for it; None: `MINUTES`.
        updates: of the weights, instead of minutes.
        begin: "auto": the last model if it fits, else what `unmask train` chooses; "new": the
            latter.
    """

    minutes: float | None = None
    updates: int | None = None
    begin: Begin = "auto"


def train_command(
    chosen: TrainingSet, out: Path, effort: Effort, defaults: Defaults, earlier: Iterable[Job]
) -> tuple[tuple[str, ...], str | None]:
    """Arguments of the round, and the model that it begins with.

    Args:
        chosen: images and labels of the round.
        out: its run folder.
        effort: its length and initial weights.
        defaults: of the person who started the server.
        earlier: jobs before this one, newest first.
    """
    command = ["train", str(chosen.listing), "--out", str(out)]
    settings: list[str] = []
    if defaults.preset is not None:
        as_file = defaults.preset.endswith((".yaml", ".yml"))
        command += ["--recipe" if as_file else "--preset", defaults.preset]
    elif effort.updates is None:
        command += ["--minutes", f"{effort.minutes or MINUTES:g}"]
    if effort.updates is not None:
        settings += _schedule(effort.updates)
    settings += _of_labels(chosen) if defaults.preset is None else _ignored(chosen)
    if defaults.preset is None:
        # A cross-validation would leave a fraction of the minutes for the model; the page holds
        # images out instead.
        settings.append("train.folds=0")
    last = _last(chosen.ndim, defaults, earlier) if effort.begin == "auto" else None
    if last is None and defaults.init != "auto":
        command += ["--init", defaults.init]
    if last is not None:
        model, recipe = last
        command += ["--init", str(model)]
        if defaults.preset is None and not defaults.sets("model"):
            # A plan of more labels may prefer another network, which could not take the weights.
            shape = recipe.model.model_dump(mode="json")
            settings += [f"model.{name}={json.dumps(value)}" for name, value in shape.items()]
    lines = [*settings, *defaults.settings]
    command += [part for line in lines for part in ("--set", line)]
    return tuple(command), None if last is None else str(last[0])


def _schedule(updates: int) -> list[str]:
    every = max(10, updates // 4)
    return [
        f"train.steps={updates}",
        f"train.warmup={updates // 10}",
        f"train.validate_every={every}",
        f"train.save_every={every}",
    ]


def _of_labels(chosen: TrainingSet) -> list[str]:
    """Settings for facts about the labels that the page knows and a plan could only guess."""
    if chosen.classes:
        task = {"name": "semantic", "classes": chosen.classes}
        return [f"task={json.dumps(task)}", *_ignored(chosen)]
    # Ids that begin at 1 in every image look like classes; dense objects are never taken for them.
    return [*([] if chosen.dense else ["task=flows"]), *_ignored(chosen)]


def _ignored(chosen: TrainingSet) -> list[str]:
    if chosen.ignore is None:
        return []
    # Crops far from everything that is labeled would teach nothing.
    return [f"data.ignore_label={chosen.ignore}", "data.foreground=1.0"]


def _last(ndim: int, defaults: Defaults, earlier: Iterable[Job]) -> tuple[Path, Recipe] | None:
    """The newest model that the round can begin with."""
    for job in earlier:
        model = job.out / "model.safetensors"
        if job.kind != "train" or job.facts.get("preset") != defaults.preset:
            continue
        if model.is_file() and (recipe := recipe_of(job)) is not None and recipe.data.ndim == ndim:
            return model, recipe
    return None


def recipe_of(job: Job) -> Recipe | None:
    """The recipe of a training; None until its run folder has one."""
    path = job.out / "recipe.yaml"
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, UnmaskError):
        return None


@lru_cache(maxsize=64)
def _read(path: Path, mark: int) -> Recipe:
    """A recipe that was written at ``mark``."""
    del mark
    return load(path)
