"""Options and their parsing that several verbs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from unmask.errors import message

DATA, RECIPE, RUN, OUTPUT = "Data", "Recipe", "Run", "Output"

_PATHS = "A file, a folder, a glob pattern or an OME-Zarr."

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="IMAGES...",
        help=f"The images. {_PATHS} Several paths are taken together.",
        show_default=False,
    ),
]
ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="PATH",
        help="Another way to give IMAGES. Repeat it for several paths.",
        rich_help_panel=DATA,
    ),
]
ValImages = Annotated[
    list[str] | None,
    typer.Option(
        "--val-images",
        metavar="PATH",
        help="Images for validation. Without them, a share of the training images is held out "
        "(data.holdout in the recipe).",
        rich_help_panel=DATA,
    ),
]
ValLabels = Annotated[
    list[str] | None,
    typer.Option(
        "--val-labels",
        metavar="PATH",
        help="Labels of the validation images.",
        rich_help_panel=DATA,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="RUN",
        help="Folder of the run. It receives the model, the journal and snapshots.",
        rich_help_panel=RUN,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="A recipe that comes with unmask. `unmask presets` lists them.",
        rich_help_panel=RECIPE,
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="A recipe of your own, as YAML. `unmask presets NAME` prints one to start from.",
        rich_help_panel=RECIPE,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one field of the recipe, such as train.steps=2000. Repeat it for several "
        "fields. `unmask presets NAME --all` describes every field.",
        rich_help_panel=RECIPE,
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        metavar="MODEL",
        help="Start from the weights of this model file, run, shipped model or hf:owner/name.",
        rich_help_panel=RECIPE,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue an interrupted run of the same command. Finished work is kept.",
        rich_help_panel=RUN,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Process all other files and list the bad ones at the end, with exit code 2.",
        rich_help_panel=RUN,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code",
        help="Run the Python code that the model file carries. Use it only if you trust its "
        "author.",
        rich_help_panel=RUN,
    ),
]
Devices = Annotated[
    int,
    typer.Option(
        "--devices",
        min=1,
        metavar="N",
        help="Number of GPUs, or of processes on the CPU.",
        rich_help_panel=RUN,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="auto|32|bf16|16",
        help="Precision of the computation; the same as --set train.precision=VALUE.",
        rich_help_panel=RUN,
    ),
]
Workers = Annotated[
    str | None,
    typer.Option(
        "--workers",
        metavar="WHERE",
        help="Where to work in parallel: processes:N or threads:N on this machine, or the address "
        "of a dask scheduler whose workers see the same files.",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where the network runs: auto, cpu, cuda, cuda:1 or mps. auto is the GPU, if "
        "present; with --workers, one GPU per worker.",
        rich_help_panel=RUN,
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="0,2|NAME,...",
        help="Channels of the files to use, in this order, by number (starting at 0) or name, such "
        "as DAPI,actin. Default: the channels that the model was trained on, otherwise all.",
        rich_help_panel=DATA,
    ),
]
OverwriteModel = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Replace a model file that exists already. Without it, such a file is refused.",
        rich_help_panel=OUTPUT,
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="REPORT",
        help="Write the report to this file: .json, .csv or .html.",
        rich_help_panel=OUTPUT,
    ),
]


def choose_images(
    images: list[str] | None, option: list[str] | None, name: str = "IMAGES"
) -> list[str]:
    """The images that were given, as arguments or by ``--images``.

    Raises:
        typer.BadParameter: both or neither were given.
    """
    if images and option:
        raise typer.BadParameter(
            f"expected {name} as arguments or by --images, found both. Give one of them."
        )
    if not images and not option:
        raise typer.BadParameter(
            f"expected {name}, found none. Give a file, a folder, a glob pattern or an OME-Zarr."
        )
    return images or option or []


def choose_recipe(preset: str | None, recipe: Path | None) -> str:
    """The recipe that was asked for: the name of a preset or the path of a file.

    Raises:
        typer.BadParameter: both or neither were given.
    """
    if (preset is None) == (recipe is None):
        raise typer.BadParameter(
            "expected --preset NAME or --recipe FILE, found "
            f"{'neither' if preset is None else 'both'}. Give one of them; `unmask presets` lists "
            "the presets and what they are for."
        )
    return str(recipe) if preset is None else preset


def add_precision(settings: list[str] | None, precision: str | None) -> list[str]:
    """The settings, with ``--precision`` as the setting that it stands for."""
    chosen = [] if precision is None else [f"train.precision={precision!r}"]
    return [*(settings or []), *chosen]


def channel_settings(channels: str | None, *, network: bool = False) -> list[str]:
    """Convert ``--channels`` to settings of the recipe.

    Args:
        channels: numbers or names, separated by commas.
        network: whether to also set the number of input channels of the network.

    Raises:
        typer.BadParameter: the text has no number or name.
    """
    if channels is None:
        return []
    found = parse_channels(channels)
    if not found:
        raise typer.BadParameter(
            message("--channels", expected="numbers or names", found=repr(channels),
                    do="Give them separated by commas, such as 0,2 or DAPI,actin.")
        )  # fmt: skip
    count = [f"data.channels={len(found)}"] if network else []
    return [*count, f"data.use_channels={json.dumps(found)}"]


def parse_channels(text: str | None) -> list[int | str]:
    """Parse numbers and names of channels, such as ``0,2`` or ``DAPI,actin``."""
    return [int(word) if word.isdecimal() else word for word in split_words(text)]


def split_words(text: str | None) -> list[str]:
    """The words of a list such as ``dice,iou``."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]
