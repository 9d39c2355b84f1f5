"""``unmask cluster``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import (
    OUTPUT,
    AllowCode,
    Channels,
    Device,
    Images,
    ImagesOption,
    Resume,
    Settings,
    Workers,
    channel_settings,
    choose_images,
)
from unmask.cli.terminal import emit, progress, show, show_next
from unmask.wording import format_count

_PANEL = "Clusters"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Arguments and options of the verb."""

    volumes: Images = None
    images_option: ImagesOption = None
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A pre-trained model: a model file, a run or the name of a shipped model.",
            rich_help_panel=_PANEL,
        ),
    ]
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder of the label images.", rich_help_panel=OUTPUT
        ),
    ]
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes",
            metavar="K",
            help="Number of clusters. Leave it out with --centers.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    quality: Annotated[
        str,
        typer.Option(
            "--quality",
            metavar="exact|fast|draft",
            help="How densely features are computed. Draft is the fastest and the coarsest.",
            rich_help_panel=_PANEL,
        ),
    ] = "exact"
    compat: Annotated[
        str,
        typer.Option(
            "--compat",
            metavar="aligned|official",
            help="Where features are placed: aligned with their voxels, or displaced as in "
            "MAESTER's program.",
            rich_help_panel=_PANEL,
        ),
    ] = "aligned"
    neighborhood: Annotated[
        float,
        typer.Option(
            "--neighborhood",
            min=0,
            metavar="VOXELS",
            help="Average the features of voxels within this distance as well. 0 turns it off.",
            rich_help_panel=_PANEL,
        ),
    ] = 0.0
    rotations: Annotated[
        bool,
        typer.Option(
            "--rotations",
            help="Average the features over four rotations, so that clusters do not depend on the "
            "direction of an edge. It takes four times as long.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    common_mean: Annotated[
        bool,
        typer.Option(
            "--common-mean",
            help="Subtract the mean feature of each volume. Use it for volumes that differ in "
            "brightness or stain.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    centers: Annotated[
        str | None,
        typer.Option(
            "--centers",
            metavar="FILE",
            help="Apply the centers of an earlier run (clusters.safetensors), or those of "
            "MAESTER as text (k6.txt), instead of fitting new ones.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            metavar="FILE",
            help="YAML file that joins clusters into named classes, such as an edited names.yaml.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Seed of the sample. The same seed gives the same labels.",
            rich_help_panel=_PANEL,
        ),
    ] = 0
    device: Device = "auto"
    workers: Workers = None
    channels: Channels = None
    settings: Settings = None
    resume: Resume = False
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace results of an earlier run. Without it, existing ones are refused.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    allow_code: AllowCode = False


def cluster(options: ClusterOptions) -> None:
    """Group the voxels of volumes without labels, by the features of a pre-trained model.

    The output folder holds one label image per volume, the centers, a table of the clusters, and
    pictures of them. Name the clusters in names.yaml and run the verb again with --centers and
    --names to get classes.

    Examples:
        # Eight clusters of a volume
        unmask cluster volume.tif --model runs/maester --classes 8 --out clusters/
        # Apply them to another volume, with names
        unmask cluster other.tif --model runs/maester --centers clusters/clusters.safetensors \
            --names clusters/names.yaml --out classes/
    """
    from unmask import api

    written = api.cluster(
        options.model,
        choose_images(options.volumes, options.images_option),
        out=options.out,
        classes=options.classes,
        options=api.ClusterOptions(
            quality=options.quality,
            compat=options.compat,
            neighborhood=options.neighborhood,
            rotations=options.rotations,
            common_mean=options.common_mean,
            seed=options.seed,
            centers=options.centers,
            names=options.names,
            cluster=options.workers,
            device=options.device,
            resume=options.resume,
            overwrite=options.overwrite,
        ),
        settings=[*channel_settings(options.channels), *(options.settings or ())],
        say=show,
        progress=progress(),
        allow_code=options.allow_code,
    )
    for path in written.labels:
        emit({"labels": path})
    show(f"{format_count(len(written.labels), 'label image')} in {options.out}")
    look = f"Look at {options.out / 'contact'}"
    if options.names is not None:
        show(look)
        show_next(["unmask", "view", options.out, *_volumes(options, "--images")])
        return
    show(f"{look}, then name the clusters in {options.out / 'names.yaml'}")
    show_next(_apply_names(options))


def _volumes(options: ClusterOptions, option: str) -> list[str]:
    """The volumes as further words of a command, each after the option."""
    paths = choose_images(options.volumes, options.images_option)
    return [word for path in paths for word in (option, path)]


def _apply_names(options: ClusterOptions) -> list[object]:
    """The command that turns these clusters into named classes.

    It repeats every option that features depend on, because centers of other features are refused.
    """
    out = options.out
    words: list[object] = ["unmask", "cluster"]
    words += choose_images(options.volumes, options.images_option)
    words += ["--model", options.model, "--centers", out / "clusters.safetensors"]
    words += ["--names", out / "names.yaml"]
    for name in ("quality", "compat", "neighborhood"):
        if (value := getattr(options, name)) != getattr(ClusterOptions, name):
            words += [f"--{name}", value]
    for name in ("rotations", "common_mean", "allow_code"):
        words += [f"--{name.replace('_', '-')}"] if getattr(options, name) else []
    words += ["--channels", options.channels] if options.channels else []
    for setting in options.settings or ():
        words += ["--set", setting]
    return [*words, "--out", out.with_name(f"{out.name}-named")]
