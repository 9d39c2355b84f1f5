"""``unmask tune``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    OUTPUT,
    RUN,
    ImagesOption,
    Settings,
    choose_images,
    split_words,
)
from unmask.cli.terminal import emit, show, show_next
from unmask.errors import message


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Arguments and options of the verb."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model file, a run folder or a shipped model.",
            show_default=False,
        ),
    ]
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGES...",
            help="Labeled images that the model was not trained on, or those of a run with folds.",
            show_default=False,
        ),
    ] = None
    images_option: ImagesOption = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels of the images. They pair by file name.",
            rich_help_panel=DATA,
        ),
    ] = None
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Metric to maximize. Default: the first one of the recipe or its task.",
            rich_help_panel=RUN,
        ),
    ] = None
    scales: Annotated[
        str | None,
        typer.Option(
            "--scales",
            metavar="F,F,...",
            help="Factors on the size of the images to try as well, such as 0.8,1.25. The network "
            "runs once more per factor.",
            rich_help_panel=RUN,
        ),
    ] = None
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            metavar="N",
            help="Combinations of options to try. Default: 40, fewer for large images.",
            rich_help_panel=RUN,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="MODEL",
            help="Model file for the result. Default: MODEL itself is changed.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    settings: Settings = None


def tune(options: TuneOptions) -> None:
    """Choose the decoding options that score best on labeled images.

    These are options of the task such as thresholds, the flow check and the smallest object size.
    The network runs once per image; only decoding is repeated. The options are saved in the recipe
    of the model, so that predict uses them. `unmask train` with few labels does this automatically.

    Examples:
        # On images that the model has not seen
        unmask tune runs/cells val/images/ --labels val/labels/
        # On the images of a run with folds: each is predicted by the fold that held it out
        unmask tune runs/mine images/ --labels labels/
        # Also try other sizes of the images, and write another model file
        unmask tune nuclei images/ --labels labels/ --scales 0.8,1.25 --out mine.safetensors
    """
    from unmask import api

    made = api.tune(
        options.model,
        choose_images(options.images, options.images_option),
        labels=options.labels,
        out=options.out,
        metric=options.metric,
        scales=_numbers(options.scales),
        trials=options.trials,
        settings=options.settings or (),
        say=show,
    )
    record = {"model": made.model, "settings": made.tuned.settings, "metric": made.tuned.metric}
    scores = {name: getattr(made.tuned, name) for name in ("before", "after", "found", "trials")}
    emit(
        record | scores,
        f"{made.tuned.describe('predictions of these images')}\nModel: {made.model}",
    )
    show_next(["unmask", "predict", "IMAGES", "--model", made.model, "--out", "LABELS"])


def _numbers(text: str | None) -> list[float]:
    try:
        numbers = [float(word) for word in split_words(text)]
    except ValueError:
        numbers = [0.0]
    if any(not number > 0 for number in numbers):
        raise typer.BadParameter(
            message(
                "--scales",
                expected="positive numbers",
                found=repr(text),
                do="Give them separated by commas, such as 0.8,1.25.",
            )
        )
    return numbers
