"""``unmask serve``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.interrupted import end_with
from unmask.cli.options import DATA, RECIPE, Settings
from unmask.cli.terminal import show

_PANEL = "Server"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Arguments and options of the verb."""

    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="Folder of the images, or one that holds a folder named images. Without it, the "
            "working directory.",
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Model to predict with until one is trained: a model file, a run or the name of "
            "a shipped model.",
            rich_help_panel=RECIPE,
        ),
    ] = None
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on. Beyond 127.0.0.1 the page needs the token that is printed.",
            rich_help_panel=_PANEL,
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            "--port",
            min=0,
            max=65535,
            metavar="N",
            help="Port to listen on. 0 takes any free one.",
            rich_help_panel=_PANEL,
        ),
    ] = 8420
    axes: Annotated[
        str | None,
        typer.Option(
            "--axes",
            metavar="AXES",
            help="Axes of files that do not name theirs, such as ZYX.",
            rich_help_panel=DATA,
        ),
    ] = None
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Recipe of the trainings. Without it, a plan is made from the labels.",
            rich_help_panel=RECIPE,
        ),
    ] = None
    init: Annotated[
        str,
        typer.Option(
            "--init",
            metavar="MODEL",
            help="Weights that the first training starts from: a model file, a run, a shipped "
            "model, auto, phantoms or none, as for unmask train.",
            rich_help_panel=RECIPE,
        ),
    ] = "auto"
    settings: Settings = None
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="A public page: small uploads and shipped models, no training.",
            rich_help_panel=_PANEL,
        ),
    ] = False


def serve(options: ServeOptions) -> None:
    """Annotate, train, predict and correct in the browser.

    Labels are saved as ordinary files next to the images, in a folder named labels. Trainings are
    ordinary runs; they continue if the page or the server is closed.

    Examples:
        # Open the images of a folder
        unmask serve images/
        # Start from the model that comes with unmask, on another port
        unmask serve project/ --model nuclei --port 9000
    """
    from unmask.serve.commands import Defaults
    from unmask.serve.run import Address, serve

    # A demonstration has no labels of its own and no trainings.
    kept = "" if options.demo else ", trainings continue"
    with end_with(f"The server has ended{kept}."):
        serve(
            options.folder or Path(),
            address=Address(options.host, options.port),
            axes=options.axes,
            defaults=Defaults(
                preset=options.preset,
                settings=tuple(options.settings or ()),
                model=options.model,
                init=options.init,
            ),
            demo=options.demo,
            say=partial(_show_address, kept=kept),
        )


def _show_address(address: str, *, kept: str) -> None:
    show(f"Open this page in a browser; Ctrl-C ends the server{kept}:")
    show(address)
