"""``unmask train``: options and printing only."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from unmask.cli.options import (
    Devices,
    Images,
    Init,
    Out,
    Precision,
    Preset,
    RecipeFile,
    Resume,
    Settings,
    chosen_recipe,
    settings_with_precision,
)
from unmask.cli.terminal import show


def train(  # noqa: PLR0913 - the options promised
    images: Images,
    out: Out,
    labels: Annotated[
        list[str] | None,
        typer.Option("--labels", help="labels of the images; a dataset.json has them itself"),
    ] = None,
    preset: Preset = None,
    recipe: RecipeFile = None,
    init: Init = None,
    val_images: Annotated[list[str] | None, typer.Option("--val-images")] = None,
    val_labels: Annotated[list[str] | None, typer.Option("--val-labels")] = None,
    replay_images: Annotated[
        list[str] | None, typer.Option("--replay-images", help="a second source, for every batch")
    ] = None,
    replay_labels: Annotated[list[str] | None, typer.Option("--replay-labels")] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.1, help="time for the training, without --preset"),
    ] = None,
    settings: Settings = None,
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Learn to segment from labeled images."""
    from unmask import api
    from unmask.training.parallel import is_first

    run = api.train(
        None if preset is None and recipe is None else chosen_recipe(preset, recipe),
        images=images,
        labels=labels,
        out=out,
        init=init,
        val_images=val_images,
        val_labels=val_labels,
        replay_images=replay_images,
        replay_labels=replay_labels,
        minutes=minutes,
        settings=settings_with_precision(settings, precision),
        devices=devices,
        resume=resume,
    )
    if not is_first():
        return
    for name, value in run.metrics.items():
        known = f"{value:.4f}" if math.isfinite(value) else "undefined (nothing to compare)"
        show(f"{name}: {known}")
    show(f"Model: {run.model}")
