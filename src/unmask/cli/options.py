"""Options and their parsing that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Images = Annotated[list[str], typer.Option("--images", help="file, folder, glob or OME-Zarr")]
Out = Annotated[Path, typer.Option("--out", help="folder of the run")]
Preset = Annotated[str | None, typer.Option("--preset", help="a shipped recipe: unmask presets")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="your own recipe (YAML)")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, reaches every field of the recipe")
]
Init = Annotated[str | None, typer.Option("--init", help="model file or run to start from")]
Resume = Annotated[bool, typer.Option("--resume", help="go on where an ended run stopped")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="do all other files, name the bad ones at the end")
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="run Python code that the model file carries")
]
Devices = Annotated[int, typer.Option("--devices", min=1, help="number of GPUs or processes")]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, 32, bf16 or 16")]


def chosen_recipe(preset: str | None, recipe: Path | None) -> str:
    """The recipe that was asked for: the name of a preset or the path of a file.

    Raises:
        typer.BadParameter: both or neither were given.
    """
    if (preset is None) == (recipe is None):
        raise typer.BadParameter("give either --preset NAME or --recipe FILE")
    return str(recipe) if preset is None else preset


def settings_with_precision(settings: list[str] | None, precision: str | None) -> list[str]:
    """The settings, with ``--precision`` as the setting that it stands for."""
    chosen = [] if precision is None else [f"train.precision={precision!r}"]
    return [*(settings or []), *chosen]
