"""``unmask synth``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.terminal import show


def synth(
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="NAME", help="Family of images; without it, the families are listed."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder for images/, labels/ and classes/."),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Number of images.")] = 100,
    size: Annotated[
        str, typer.Option("--size", metavar="N,N[,N]", help="Voxels per axis, slow axis first.")
    ] = "192,192",
    spacing: Annotated[
        str | None,
        typer.Option("--spacing", metavar="X,X[,X]", help="Voxel sizes; default: by the family."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Equal seeds, equal images.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Option of the family, such as diameter=[10,30]."
        ),
    ] = None,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace images that an earlier call has written.")
    ] = False,
) -> None:
    """Draw synthetic images with exact labels, to train on without labeling.

    Examples:
        # List the families
        unmask synth
        # Draw 100 images of worms that cross, and train on them
        unmask synth --kind worms --count 100 --size 192,192 --out worms
        unmask train worms/images --labels worms/labels --preset cells --out runs/worms
        # Draw stacks of nuclei between 10 and 20 pixels wide
        unmask synth --kind deep_nuclei --size 48,128,128 --set diameter=[10,20] --out nuclei
    """
    from unmask.phantoms.families import write_phantoms
    from unmask.phantoms.request import describe_families, parse_numbers, parse_options

    if kind is None:
        for name, text in describe_families().items():
            show(f"{name:16} {text}")
        return
    if out is None:
        raise typer.BadParameter("give --out DIR")
    folder = write_phantoms(
        out,
        kind,
        [int(n) for n in parse_numbers("--size", size, whole=True)],
        count,
        seed=seed,
        spacing=None if spacing is None else parse_numbers("--spacing", spacing),
        options=parse_options(settings or ()),
        overwrite=overwrite,
    )
    show(f"{count} images with labels: {folder}")
