"""``unmask presets``: options and printing only."""

from __future__ import annotations

from typing import Annotated

import typer

from unmask.cli.options import OUTPUT
from unmask.cli.terminal import emit
from unmask.errors import message


def presets(
    *,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Print this preset as YAML, to start your own from."),
    ] = None,
    every: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Print every field with its value in the preset, its default and its description.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    axes: Annotated[
        int | None,
        typer.Option(
            "--axes",
            metavar="2|3",
            help="List only presets for images (2) or volumes (3).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """List the presets, or print one of them.

    A preset is a recipe: everything that defines a training.

    Examples:
        unmask presets
        # Start your own recipe from a preset
        unmask presets cells > mine.yaml
        # What can be changed, and what it means
        unmask presets cells --all
    """
    from unmask import recipe

    if every and name is None:
        raise typer.BadParameter(
            message("--all", expected="the NAME of the preset whose fields are described",
                    found="none", do="Give it, such as unmask presets cells --all.")
        )  # fmt: skip
    shipped = recipe.presets()
    if name is not None:
        chosen = recipe.load(name)
        if every:
            _print_fields(chosen)
        else:
            emit(chosen.model_dump(mode="json"), shipped[name], nl=False)
        return
    width = max(map(len, shipped))
    for each in map(recipe.load, shipped):
        if axes in (None, each.data.ndim):
            record = {"name": each.name, "description": each.description, "axes": each.data.ndim}
            record |= {"verb": "train" if each.task else "pretrain"}
            emit(record, f"{each.name:{width}} {each.description}")


def _print_fields(chosen: object) -> None:
    """One block per field: name, value and default, description."""
    from unmask.recipe_fields import describe_fields, format_value, value_at

    for field in describe_fields():
        parent = value_at(chosen, field.path.rpartition(".")[0])
        value = field.default if parent is None else format_value(value_at(chosen, field.path))
        record = {"field": field.path, "value": value, "type": field.type}
        record |= {"default": field.default, "description": field.description}
        default = "required" if field.default is None else f"default {field.default}"
        same = "" if value == field.default else f" = {value}"
        emit(record, f"{field.path}{same}  ({field.type}; {default})\n    {field.description}")
