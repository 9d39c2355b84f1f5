"""``unmask info``: options and printing only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from unmask.cli.options import RUN
from unmask.cli.terminal import emit, show
from unmask.startup import quick_imports


def info(
    *,
    compile_: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the kernels that are not compiled yet, so that the first prediction does "
            "not wait for them.",
            rich_help_panel=RUN,
        ),
    ] = False,
) -> None:
    """Show versions, devices and which one is used, extras, and cache folders.

    Examples:
        unmask info
        # After an installation, before the first prediction
        unmask info --compile
    """
    with quick_imports():
        from unmask.api import compile_kernels, describe_installation

    found = describe_installation()
    emit(asdict(found), found.to_text())
    if compile_:
        show(f"Kernels are compiled ({compile_kernels():.0f} s).")
