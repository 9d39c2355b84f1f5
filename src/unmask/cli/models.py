"""``unmask models``: options and printing only."""

from __future__ import annotations

from typing import Annotated

import typer

from unmask.cli.terminal import show


def models(
    model: Annotated[
        str | None, typer.Argument(help="print the card of this model file, run or shipped model")
    ] = None,
) -> None:
    """List the models that come with the package, or print the card of any model."""
    from unmask import api

    if model is not None:
        show(api.model_card(model).to_text())
        return
    for each in api.shipped_models():
        show(each.to_text())
