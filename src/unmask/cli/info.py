"""``unmask info``: options and printing only."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from unmask.cli.terminal import show
from unmask.startup import quick_imports


def info(
    compile_: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--compile", help="compile the kernels that are not compiled yet")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,  # noqa: FBT002
) -> None:
    """Show versions, devices and which one is used, extras, and cache folders.

    Examples: unmask info; unmask info --compile
    """
    with quick_imports():
        from unmask.api import compile_kernels, describe_installation

    found = describe_installation()
    show(json.dumps(asdict(found)) if as_json else found.to_text())
    if compile_:
        seconds = compile_kernels()
        if not as_json:
            show(f"Kernels are compiled ({seconds:.0f} s).")
