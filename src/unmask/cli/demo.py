"""``unmask demo``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.terminal import show


def demo(
    out: Annotated[Path, typer.Option("--out", help="folder of the demo")] = Path("demo"),
    axes: Annotated[int, typer.Option("--axes", min=2, max=3, help="2 or 3")] = 2,
) -> None:
    """Pretrain, train, predict and evaluate on synthetic images; ends with a report."""
    from unmask.apps.demo import run_demo

    report = run_demo(out, ndim=axes)
    show(f"Report: {report}")
