"""``unmask predict``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import AllowCode, Resume, Settings, SkipBad
from unmask.cli.terminal import show
from unmask.startup import quick_imports


def predict(  # noqa: PLR0913 - the options promised
    images: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    model: Annotated[
        list[str], typer.Option("--model", help="model file, run or shipped model; several: mean")
    ],
    out: Annotated[Path, typer.Option("--out", help="folder of the label images")],
    scores: Annotated[bool, typer.Option("--scores", help="write the joined scores too")] = False,  # noqa: FBT002
    tta: Annotated[bool, typer.Option("--tta", help="average over flips")] = False,  # noqa: FBT002
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter",
            help="of the objects in the images, in pixels: images are "
            "resized to the model's object size",
        ),
    ] = None,
    settings: Settings = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="dask scheduler's address, or processes:N, threads:N"),
    ] = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
    skip_bad: SkipBad = False,  # noqa: FBT002 - a flag of the command line
    allow_code: AllowCode = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Segment images of any size, one label image an input, same stem; or classify them."""
    with quick_imports():
        from unmask import api
        from unmask.api.prediction import Options
        from unmask.apps.progress import WindowProgress

    extra = ["infer.tta=true"] if tta else []
    written = api.predict_files(
        model,
        images,
        out=out,
        settings=[*(settings or []), *extra],
        options=Options(
            scores=scores, cluster=cluster, resume=resume, skip_bad=skip_bad, diameter=diameter
        ),
        say=show,
        progress=WindowProgress(),
        allow_code=allow_code,
    )
    show(f"{len(written)} file(s) in {out}")
