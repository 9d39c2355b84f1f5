"""``unmask convert``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Settings
from unmask.cli.terminal import show


def convert(
    weights: Annotated[Path, typer.Argument(help="published weights: .safetensors, .pth, .pt")],
    source: Annotated[str, typer.Option("--source", help="mae, maester, glmae, mediar, ...")],
    out: Annotated[Path, typer.Option("--out", help="model file (.safetensors)")],
    settings: Settings = None,
) -> None:
    """Turn weights of a published program into a model file; no code in them is run."""
    from unmask import api

    written = api.convert(weights, source=source, out=out, settings=settings or ())
    show(f"Model: {written}")
