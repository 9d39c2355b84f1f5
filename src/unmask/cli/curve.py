"""``unmask curve``: options and printing only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    DATA,
    RUN,
    Images,
    ImagesOption,
    Preset,
    RecipeFile,
    Resume,
    Settings,
    ValImages,
    ValLabels,
    Workers,
    choose_images,
    choose_recipe,
    split_words,
)
from unmask.cli.terminal import emit, show
from unmask.errors import message

_PANEL = "Curve"


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    labels: Annotated[
        list[str],
        typer.Option(
            "--labels", metavar="PATH", help="Labels of the images.", rich_help_panel=DATA
        ),
    ]
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of the runs, the table and the plot.",
            rich_help_panel=RUN,
        ),
    ]
    preset: Preset = None
    recipe: RecipeFile = None
    val_images: ValImages = None
    val_labels: ValLabels = None
    unlabeled: Annotated[
        list[str] | None,
        typer.Option(
            "--unlabeled",
            metavar="PATH",
            help="Images without labels, for pre-training.",
            rich_help_panel=DATA,
        ),
    ] = None
    pretrain: Annotated[
        str | None,
        typer.Option(
            "--pretrain",
            metavar="NAME,...",
            help="Presets that pre-train on the images without labels. Without it, the preset that "
            "fits the network.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    init: Annotated[
        list[str] | None,
        typer.Option(
            "--init",
            metavar="NAME=MODEL",
            help="A model to start from as well, with a name for the table. Repeat it for several. "
            "Without it and without --unlabeled, the shipped weights that fit, as in train; none: "
            "random weights alone.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    labels_per_run: Annotated[
        str | None,
        typer.Option(
            "--labels-per-run",
            metavar="N,...",
            help="Numbers of labeled images. Without it, 1, 2, 4 and so on up to all.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats",
            metavar="N",
            help="Trainings per number of labels, each with other images and another seed.",
            rich_help_panel=_PANEL,
        ),
    ] = 3
    doublings: Annotated[
        int,
        typer.Option(
            "--doublings",
            metavar="N",
            help="Double the updates until scratch has converged, at most N times. 1: only say "
            "whether it has; 0: do not look.",
            rich_help_panel=_PANEL,
        ),
    ] = 1
    equal: Annotated[
        str,
        typer.Option(
            "--equal",
            metavar="BUDGET",
            help="What a start and the random weights that it is compared with have in common: "
            "the updates of the training, or all updates or all seconds, with the pre-training.",
            rich_help_panel=_PANEL,
        ),
    ] = "training"
    settings: Settings = None
    pretrain_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--pretrain-set",
            metavar="KEY=VALUE",
            help="Like --set, for the recipes of the pre-trainings.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    workers: Workers = None
    resume: Resume = False


def curve(options: CurveOptions) -> None:
    """Measure how many labels are needed and whether pre-training saves any.

    Models are trained on growing numbers of labeled images, from random weights and from others:
    the shipped ones that train uses, own models, or a pre-training on unlabeled images. The
    output is a table, a plot and one sentence per starting point.

    Examples:
        # Is it worth labeling more images?
        unmask curve images/ --labels labels/ --preset cells --out curve/
        # Does pre-training on all images save labels?
        unmask curve images/ --labels labels/ --unlabeled all/ --preset cells \
            --labels-per-run 1,4,16 --out curve/
    """
    from unmask.apps.curve import Files, Plan, run_curve

    plan = Plan(
        counts=None if options.labels_per_run is None else _numbers(options.labels_per_run),
        repeats=options.repeats,
        starts=None if options.init is None else _split_pairs(options.init),
        pretrain=tuple(split_words(options.pretrain)),
        pretrain_settings=tuple(options.pretrain_settings or ()),
        settings=tuple(options.settings or ()),
        cluster=options.workers,
        doublings=options.doublings,
        equal=options.equal,
    )
    given = choose_images(options.images, options.images_option)
    files = Files(given, options.labels, options.val_images, options.val_labels, options.unlabeled)
    chosen = choose_recipe(options.preset, options.recipe)
    for row in run_curve(
        chosen, files, out=options.out, plan=plan, resume=options.resume, say=show
    ):
        emit(asdict(row))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            message("--labels-per-run", expected="whole numbers", found=repr(text),
                    do="Give them separated by commas, such as 1,2,4,8.")
        ) from error  # fmt: skip


def _split_pairs(pairs: list[str]) -> dict[str, str]:
    if pairs == ["none"]:
        return {}
    models: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not path or name in models:
            raise typer.BadParameter(
                message("--init", expected="NAME=MODEL, each name once", found=repr(pair),
                        do=f"Put a name for the table before it, such as start={pair}.")
            )  # fmt: skip
        models[name] = path
    return models
