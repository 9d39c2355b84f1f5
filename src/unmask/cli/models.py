"""``unmask models``: options and printing only."""

from __future__ import annotations

from typing import Annotated

import typer

from unmask.cli.terminal import emit


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model file, a run, a shipped model or hf:owner/name, to print its card.",
        ),
    ] = None,
) -> None:
    """List the models that come with unmask, or print the card of any model.

    A card says what a model was trained on, the sizes of its objects, its channels, its scores and
    its license.

    Examples:
        unmask models
        unmask models nuclei
        unmask models runs/cells
        unmask models hf:lab/cells
    """
    from unmask import api

    if model is not None:
        card = api.model_card(model)
        emit({"name": card.name, "path": card.path, "facts": card.facts}, card.to_text())
        return
    for each in api.shipped_models():
        emit(
            {"name": each.name, "path": each.path, **api.model_card(each.name).facts},
            each.to_text(),
        )
