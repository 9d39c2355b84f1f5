"""``unmask check``: options and printing only."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    OUTPUT,
    Channels,
    Images,
    ImagesOption,
    Preset,
    RecipeFile,
    Settings,
    ValImages,
    ValLabels,
    channel_settings,
    choose_images,
)
from unmask.cli.terminal import emit, show, show_next

# Time limit that is proposed for trainings that take longer.
_MINUTES = 30


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels of the images, if there are any.",
            rich_help_panel=DATA,
        ),
    ] = None
    val_images: ValImages = None
    val_labels: ValLabels = None
    preset: Preset = None
    recipe: RecipeFile = None
    channels: Channels = None
    settings: Settings = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Text file for every problem and note, one per line.",
            rich_help_panel=OUTPUT,
        ),
    ] = None


def check(options: CheckOptions) -> None:
    """Read every file once and report all problems before a training.

    The report says what would be trained, on how many images, how long it takes and how much memory
    it needs. Without --preset or --recipe it names the preset that fits. If there are problems, the
    exit code is 2.

    Examples:
        # Which preset fits these images and labels?
        unmask check images/ --labels labels/
        # Images without labels
        unmask check images/
        # A validation set, and a preset that is already chosen
        unmask check images/ --labels labels/ --val-images val/images --val-labels val/labels \
            --preset cells
    """
    from unmask import api
    from unmask.api.audit import list_in_full

    audit = api.check(
        choose_images(options.images, options.images_option),
        labels=options.labels,
        val_images=options.val_images,
        val_labels=options.val_labels,
        recipe=options.recipe or options.preset,
        settings=[*channel_settings(options.channels, network=True), *(options.settings or ())],
        out=options.out,
        say=show,
    )
    given = [*choose_images(options.images, options.images_option), *(options.labels or ())]
    if options.out is None and (path := list_in_full(audit, given)) is not None:
        show(f"The full list is in {path}.")
    record = {"problems": audit.problems, "notes": audit.notes, "usable": len(audit.pairs)}
    labeled = sum(pair.labels is not None for pair in audit.pairs)
    emit(record | {"labeled": labeled, "forecast": audit.forecast})
    if audit.problems:
        raise typer.Exit(2)
    if words := _training_command(options, labeled=labeled):
        show_next(words)
        if _is_long(words, audit.forecast):
            show("For a first model in about half an hour, with fewer updates:")
            show(f"  {shlex.join([*words, '--minutes', str(_MINUTES)])}")


def _is_long(words: Sequence[str], forecast: Mapping[str, float | int | None]) -> bool:
    """Whether a training takes long, and its plan can have a time limit."""
    fixed = {"pretrain", "--preset", "--recipe"} & set(words)
    own = any(word.partition("=")[0].strip() == "train.steps" for word in words)
    # Other programs may slow this one down as long as it runs.
    seconds = (forecast.get("seconds") or 0) * (forecast.get("busy") or 1)
    return not fixed and not own and seconds > 60 * _MINUTES


def _training_command(options: CheckOptions, *, labeled: int) -> list[str]:
    """The training of what was checked, with the same options; none without labels for it."""
    from unmask.data.tables import is_table
    from unmask.recipe import load
    from unmask.training.advice import suggest

    recipe = options.recipe or options.preset
    pretraining = recipe is not None and load(recipe).task is None
    if not labeled and not pretraining:
        return []
    words = ["unmask", "pretrain" if pretraining else "train"]
    words += (images := choose_images(options.images, options.images_option))
    paths = {
        "--labels": options.labels,
        "--val-images": options.val_images,
        "--val-labels": options.val_labels,
    }
    given = {
        **({} if pretraining else paths),
        "--preset": [options.preset],
        "--recipe": [options.recipe],
        "--channels": [options.channels],
        "--set": options.settings,
    }
    for option, values in given.items():
        words += [word for value in values or () if value for word in (option, str(value))]
    if recipe is None and options.labels and is_table(options.labels):
        # No plan is made from a table, so the training needs the preset that fits.
        words += shlex.split(suggest(images, options.labels)[1].partition(": ")[2])
    return [*words, "--out", "runs/mine"]
