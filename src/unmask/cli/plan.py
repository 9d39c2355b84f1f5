"""``unmask plan``: options and printing only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    OUTPUT,
    RUN,
    Channels,
    Images,
    ImagesOption,
    Settings,
    channel_settings,
    choose_images,
)
from unmask.cli.terminal import emit, show


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels of some or all of the images. They pair by file name.",
            rich_help_panel=DATA,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            metavar="M",
            help="Time for the training on this machine. A few updates are timed.",
            rich_help_panel=RUN,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="YAML file for the recipe, with the reasons as comments.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    channels: Channels = None
    settings: Settings = None


def plan(options: PlanOptions) -> None:
    """Derive a recipe from images and labels, with the reason for every choice.

    The images and labels are measured: kinds of labels, diameters, contacts, voxel sizes, channels
    and intensities. `unmask train` without --preset makes the same plan and uses it.

    Examples:
        # What would be trained, and why?
        unmask plan images/ --labels labels/
        # A recipe for half an hour on this machine, to edit and to give to train --recipe
        unmask plan images/ --labels labels/ --minutes 30 --out recipe.yaml
    """
    from unmask import api
    from unmask.planning.text import describe_decision, describe_note

    made = api.plan(
        choose_images(options.images, options.images_option),
        labels=options.labels,
        minutes=options.minutes,
        out=options.out,
        settings=[*channel_settings(options.channels, network=True), *(options.settings or ())],
    )
    show(f"Plan for {made.facts.images.count} images, {made.facts.labeled} with labels:")
    for each in made.decisions:
        record = {"field": each.field, "value": each.value, "reason": each.reason}
        emit(record | {"sure": each.sure, "otherwise": each.otherwise}, describe_decision(each))
    for note in made.notes:
        show(describe_note(note))
    if options.out is not None:
        words = ["unmask", "train", *(options.images or options.images_option or ())]
        for label in options.labels or ():
            words += ["--labels", label]
        words += ["--recipe", str(options.out), "--out", f"runs/{options.out.stem}"]
        show(f"Recipe: {options.out}. Train with:\n  {shlex.join(words)}")
    else:
        show("unmask train makes the same plan. To edit it first, give --out recipe.yaml.")
