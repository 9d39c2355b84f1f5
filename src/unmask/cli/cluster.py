"""``unmask cluster``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import AllowCode, Resume, Settings
from unmask.cli.terminal import show


def cluster(  # noqa: PLR0913 - the options promised
    volumes: Annotated[list[str], typer.Argument(help="file, folder, glob or OME-Zarr")],
    model: Annotated[str, typer.Option("--model", help="model file, run or shipped model")],
    out: Annotated[Path, typer.Option("--out", help="folder of the label images")],
    classes: Annotated[int | None, typer.Option("--classes", help="number of clusters")] = None,
    quality: Annotated[str, typer.Option("--quality", help="exact, fast or draft")] = "exact",
    compat: Annotated[str, typer.Option("--compat", help="aligned or official")] = "aligned",
    surround: Annotated[
        float, typer.Option("--surround", min=0, help="voxels around that count as well; 0: none")
    ] = 0.0,
    turns: Annotated[bool, typer.Option("--turns", help="mean of 4 turns")] = False,  # noqa: FBT002
    common_mean: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--common-mean", help="for volumes of different brightness or stain")
    ] = False,
    centres: Annotated[
        str | None, typer.Option("--centres", help="clusters.safetensors of an earlier run")
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", help="YAML that joins clusters into named classes")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="same seed, same labels")] = 0,
    workers: Annotated[
        str | None,
        typer.Option("--cluster", help="dask scheduler's address, or processes:N, threads:N"),
    ] = None,
    settings: Settings = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
    allow_code: AllowCode = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Group the voxels of volumes without labels, by the features of a pre-trained model."""
    from unmask import api
    from unmask.apps.progress import WindowProgress

    written = api.cluster(
        model,
        volumes,
        out=out,
        classes=classes,
        options=api.ClusterOptions(
            quality=quality,
            compat=compat,
            neighborhood=surround,
            rotations=turns,
            common_mean=common_mean,
            seed=seed,
            centers=centres,
            names=names,
            cluster=workers,
            resume=resume,
        ),
        settings=settings or (),
        say=show,
        progress=WindowProgress(),
        allow_code=allow_code,
    )
    show(f"{len(written.labels)} label image(s) in {out}")
    show(f"Look at {out / 'contact'}, then name the clusters in {out / 'names.yaml'}")
