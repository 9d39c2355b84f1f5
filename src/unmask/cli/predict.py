"""``unmask predict``: options and printing only."""

from __future__ import annotations

import shlex
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
    SkipBad,
    Workers,
    channel_settings,
    choose_images,
)
from unmask.cli.terminal import emit, progress, show
from unmask.startup import quick_imports
from unmask.wording import format_count

_PANEL = "Prediction"


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model file, a run (its best model), the name of a shipped model or "
            "hf:owner/name[@revision] of one on a hub. Repeat it to average several models. "
            "Default: the shipped model that fits the images.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Folder of the label images.", rich_help_panel=OUTPUT
        ),
    ] = None
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Write the labels of an OME-Zarr image into its own store, as labels/NAME. "
            "Existing labels are kept.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    label_name: Annotated[
        str | None,
        typer.Option(
            "--label-name",
            metavar="NAME",
            help="Name of the label image inside an OME-Zarr. Default: the name of the model.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    label_ending: Annotated[
        str | None,
        typer.Option(
            "--label-ending",
            metavar="ENDING",
            help="Text after the name of the image in the names of label files; its suffix is "
            "their format. The NeurIPS 2022 challenge expects _label.tiff.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    scores: Annotated[
        bool,
        typer.Option(
            "--scores",
            help="Write the scores of the network as well, as scores/NAME.zarr, and the "
            "uncertainty per voxel, as uncertainty/NAME.zarr.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    tta: Annotated[
        bool,
        typer.Option(
            "--tta",
            help="Average over mirrored images. It is slower and often a little better.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter",
            metavar="PX",
            help="Diameter of the objects in pixels. Images are resized so that objects have the "
            "size that the model was trained on.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace results that exist already. Without it, such a folder is refused.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    table: Annotated[
        bool,
        typer.Option(
            "--table",
            help="Write objects.csv with one row per object.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    overlay: Annotated[
        bool,
        typer.Option(
            "--overlay",
            help="Write pictures of the images with outlines of the objects, to the folder "
            "overlay.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    planes: Annotated[
        str | None,
        typer.Option(
            "--planes",
            metavar="z|t",
            help="Segment the planes of a stack one by one: slices (z) or time points (t). The "
            "time points of a movie are always segmented one by one.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Join the objects of neighboring slices into objects of the volume, and track "
            "objects over time. Tracks are written to the folder tracks.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    device: Device = "auto"
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Print at the end where the time went: reading, network, decoding and writing, "
            "which overlap.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    channels: Channels = None
    settings: Settings = None
    workers: Workers = None
    resume: Resume = False
    skip_bad: SkipBad = False
    allow_code: AllowCode = False


def predict(options: PredictOptions) -> None:
    """Segment images and volumes of any size, or classify them.

    Each image gets one label image with the same name. Models that classify write one table.

    Examples:
        # No label and no model of your own
        unmask predict images/ --out labels/
        # A shipped model by its name
        unmask predict images/ --model nuclei --out labels/
        # A model of your own, on objects of about 40 pixels
        unmask predict images/ --model runs/cells --diameter 40 --out labels/
        # A large volume, on four processes; the same command with --resume continues it
        unmask predict volume.zarr --model runs/cells --workers processes:4 --out labels/
        # Into the OME-Zarr store of the image, next to existing labels
        unmask predict image.ome.zarr --model nuclei --in-place
    """
    extra = ["infer.tta=true"] if options.tta else []
    settings = [*channel_settings(options.channels), *(options.settings or []), *extra]
    written = _predict(options, settings)
    folder = "the stores of the images" if options.in_place else options.out
    show(f"{format_count(len(written), 'file')} in {folder}")
    _show_more(options)
    # Models that classify write a table, which no viewer shows.
    if options.out is not None and any(path.suffix != ".csv" for path in written):
        words = ["unmask", "view", str(options.out)]
        for path in choose_images(options.images, options.images_option):
            words += ["--images", path]
        show(f"Look at the result: {shlex.join(words)}")


def _show_more(options: PredictOptions) -> None:
    """Name what was asked for in addition to the label images."""
    from unmask.api.prediction_options import SUMMARY
    from unmask.api.results import OVERLAY, TRACKS

    if options.out is None:
        return
    wanted = {
        "Pictures": (options.overlay, options.out / OVERLAY),
        "Overview": (options.overlay, options.out / SUMMARY),
        "Tracks": (options.join, options.out / TRACKS),
    }
    for title, (asked, path) in wanted.items():
        if asked and path.exists():
            show(f"{title}: {path}")


def _folder(options: PredictOptions, images: list[str]) -> Path:
    """Output folder; with ``--in-place``, unfinished work is kept in the folder of the images."""
    if options.out is not None:
        return options.out
    if not options.in_place:
        raise typer.BadParameter(
            "expected --out FOLDER for the label images, found none. Give it, or --in-place to "
            "write into the stores of OME-Zarr images."
        )
    return Path(images[0]).absolute().parent


def _predict(options: PredictOptions, settings: list[str]) -> list[Path]:
    with quick_imports():
        from unmask import api
        from unmask.api.prediction import Options

    images = choose_images(options.images, options.images_option)
    return api.predict_files(
        options.model,
        images,
        out=_folder(options, images),
        settings=settings,
        options=Options(
            scores=options.scores,
            cluster=options.workers,
            resume=options.resume,
            skip_bad=options.skip_bad,
            diameter=options.diameter,
            table=options.table,
            planes=options.planes,
            overlay=options.overlay,
            overwrite=options.overwrite,
            join=options.join,
            in_place=options.in_place,
            label_name=options.label_name,
            label_ending=options.label_ending,
            device=options.device,
            profile=options.profile,
        ),
        say=show,
        progress=progress(),
        allow_code=options.allow_code,
        record=emit,
    )
