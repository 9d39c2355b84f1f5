"""``unmask serve``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Settings
from unmask.cli.terminal import show


def serve(
    folder: Annotated[Path, typer.Argument(help="holds the images, or a folder images")] = Path(),
    model: Annotated[
        str | None, typer.Option("--model", help="model file, run or shipped model to predict with")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen on; beyond 127.0.0.1 needs a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any")] = 8420,
    axes: Annotated[
        str | None, typer.Option("--axes", help="axes of files that do not say theirs: ZYX")
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="recipe of trainings; default: cells or cells3d")
    ] = None,
    settings: Settings = None,
    demo: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--demo", help="a public page: no training, small uploads")
    ] = False,
) -> None:
    """Annotate, train, predict and correct in the browser."""
    from unmask.serve.jobs import Defaults
    from unmask.serve.run import Address, serve

    show("Open this page in a browser; Ctrl-C ends the server, trainings continue:")
    serve(
        folder,
        address=Address(host, port),
        axes=axes,
        defaults=Defaults(preset, tuple(settings or ()), model, 120.0 if demo else None),
        demo=demo,
        say=show,
    )
