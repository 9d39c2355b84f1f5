"""``unmask train``: options and printing only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    RECIPE,
    RUN,
    Channels,
    Devices,
    Images,
    ImagesOption,
    Out,
    Precision,
    Preset,
    RecipeFile,
    Resume,
    Settings,
    ValImages,
    ValLabels,
    add_precision,
    channel_settings,
    choose_images,
    choose_recipe,
)
from unmask.cli.terminal import emit


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    out: Out
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels of the images. They pair by file name. A dataset.json names its own.",
            rich_help_panel=DATA,
        ),
    ] = None
    preset: Preset = None
    recipe: RecipeFile = None
    init: Annotated[
        str,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Weights to start from: a model file, a run or a shipped model. auto: the shipped "
            "weights from synthetic images, if they fit and help. phantoms: these without a trial. "
            "none: random weights.",
            rich_help_panel=RECIPE,
        ),
    ] = "auto"
    val_images: ValImages = None
    val_labels: ValLabels = None
    replay_images: Annotated[
        list[str] | None,
        typer.Option(
            "--replay-images",
            metavar="PATH",
            help="Images of a second source, a share of every batch, so that a fine-tuned model "
            "keeps what it has learned from them. phantoms, or phantoms:nuclei,worms: synthetic "
            "images.",
            rich_help_panel=DATA,
        ),
    ] = None
    replay_labels: Annotated[
        list[str] | None,
        typer.Option(
            "--replay-labels",
            metavar="PATH",
            help="Labels of the second source.",
            rich_help_panel=DATA,
        ),
    ] = None
    unlabeled: Annotated[
        list[str] | None,
        typer.Option(
            "--unlabeled",
            metavar="PATH",
            help="Images without labels to learn from as well, with the method train.unlabeled. "
            "Images that have labels or are held out are skipped, so it can be the same folder.",
            rich_help_panel=DATA,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            metavar="M",
            help="Time for the training, if neither --preset nor --recipe is given.",
            rich_help_panel=RUN,
        ),
    ] = None
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=0,
            metavar="K",
            help="Score the model by a cross-validation with K folds; 0: none. The default without "
            "--preset and --recipe depends on the number of labeled images and the time. The same "
            "as --set train.folds=K.",
            rich_help_panel=RUN,
        ),
    ] = None
    channels: Channels = None
    settings: Settings = None
    devices: Devices = 1
    precision: Precision = None
    resume: Resume = False


def train(options: TrainOptions) -> None:
    """Train a model on images and their labels.

    Without --preset and --recipe, a recipe is derived from the images and labels, as `unmask plan`
    does. With fewer than 12 labeled images, each of them is then held out once in a
    cross-validation; its scores and predictions are in RUN/held_out. The run folder holds the best
    model, report.html, a journal and snapshots for --resume. More updates than before continue
    a run: --resume --set train.steps=N.

    Examples:
        # Everything derived from the data, for half an hour
        unmask train images/ --labels labels/ --minutes 30 --out runs/mine
        # Cells or nuclei
        unmask train images/ --labels labels/ --preset cells --out runs/cells
        # Four classes per voxel of a volume, fewer steps
        unmask train volumes/ --labels classes/ --preset semantic3d --set task.classes=4 \
            --set train.steps=2000 --out runs/tissue
        # Learn from unlabeled images as well
        unmask train images/ --labels labels/ --unlabeled images/ --out runs/all
        # Classes of pixels from scribbles, in seconds
        unmask train images/ --labels scribbles/ --preset pixels --out runs/pixels
        # Fine-tune the shipped model
        unmask train images/ --labels labels/ --preset cells --init nuclei --out runs/tuned
    """
    from unmask import api
    from unmask.training.parallel import is_first

    chosen = options.preset is not None or options.recipe is not None
    run = api.train(
        choose_recipe(options.preset, options.recipe) if chosen else None,
        images=choose_images(options.images, options.images_option),
        labels=options.labels,
        out=options.out,
        init=options.init,
        val_images=options.val_images,
        val_labels=options.val_labels,
        replay_images=options.replay_images,
        replay_labels=options.replay_labels,
        unlabeled=options.unlabeled,
        minutes=options.minutes,
        settings=[
            *channel_settings(options.channels, network=True),
            *add_precision(options.settings, options.precision),
            *(() if options.folds is None else [f"train.folds={options.folds}"]),
        ],
        devices=options.devices,
        resume=options.resume,
    )
    if not is_first():
        return
    lines = [
        f"{name}: {f'{value:.4f}' if math.isfinite(value) else 'undefined (nothing to compare)'}"
        for name, value in run.metrics.items()
    ]
    record = {"run": options.out, "model": run.model, "metrics": run.metrics}
    emit(record, "\n".join([*lines, f"Model: {run.model}"]))
