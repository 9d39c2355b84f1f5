"""``unmask synth``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import DATA, OUTPUT
from unmask.cli.terminal import emit, show, show_next
from unmask.interruption import note_kept
from unmask.wording import format_count, join_names

_PANEL = "Images"


@dataclass(frozen=True, kw_only=True)
class SynthOptions:
    """Arguments and options of the verb."""

    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="NAME",
            help="Family of images. Without it, the families are listed.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="IMAGES",
            help="Images without labels to resemble: a file, a folder, a glob pattern or an "
            "OME-Zarr. The family that fits best is chosen, unless --kind names one.",
            rich_help_panel=DATA,
        ),
    ] = None
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Labels of a few of the images. Half of the drawn images are then made of labeled "
            "objects that are pasted onto the background of these images.",
            rich_help_panel=DATA,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder for images/ and labels/, and classes/ without --like.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    count: Annotated[
        int,
        typer.Option(
            "--count", "--number", metavar="N", help="Number of images.", rich_help_panel=_PANEL
        ),
    ] = 100
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="N,N[,N]",
            help="Voxels per axis, slow axis first. Without it, 192,192; with --like, the size of "
            "the images up to 256,256 or 32,128,128.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    spacing: Annotated[
        str | None,
        typer.Option(
            "--spacing",
            metavar="X,X[,X]",
            help="Voxel size per axis, slow axis first. Without it, that of the family.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Seed of the images. The same seed gives the same images.",
            rich_help_panel=_PANEL,
        ),
    ] = 0
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change an option of the family, such as diameter=[10,30].",
            rich_help_panel=_PANEL,
        ),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Write into a folder that contains images already.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


def synth(options: SynthOptions) -> None:
    """Draw synthetic images with exact labels, to train on without labeling.

    Examples:
        # List the families
        unmask synth
        # Draw 100 images of worms that cross, to train on
        unmask synth --kind worms --count 100 --size 192,192 --out worms
        # Draw stacks of nuclei between 10 and 20 pixels wide
        unmask synth --kind deep_nuclei --size 48,128,128 --set diameter=[10,20] --out nuclei
        # Draw labeled images that resemble your own, which have no labels
        unmask synth --like images/ --count 200 --out drawn
    """
    if options.like is None and options.kind is None:
        _list_families()
        return
    images = _out(options) / "images"
    # A folder that is refused holds no image of this run.
    own = options.overwrite or not images.exists()
    text = f"The images drawn so far are in {images}."
    with note_kept(lambda: text if own and images.exists() else ""):
        if options.like is not None:
            _draw_like(options, options.like)
        elif options.kind is not None:
            _draw_kind(options, options.kind)


def _list_families() -> None:
    from unmask.phantoms.request import describe_families

    for name, text in describe_families().items():
        emit({"kind": name, "description": text}, f"{name:16} {text}")


def _draw_kind(options: SynthOptions, kind: str) -> None:
    from unmask.phantoms.families import write_phantoms
    from unmask.phantoms.request import parse_numbers, parse_options

    if options.labels is not None:
        raise typer.BadParameter("expected --like IMAGES with --labels, found none. Give it.")
    spacing = None if options.spacing is None else parse_numbers("--spacing", options.spacing)
    folder = write_phantoms(
        _out(options),
        kind,
        _size(options.size or "192,192"),
        options.count,
        seed=options.seed,
        spacing=spacing,
        options=parse_options(options.settings or ()),
        overwrite=options.overwrite,
    )
    text = f"{options.count} images with labels: {folder}"
    emit({"images": options.count, "folder": folder}, text)
    _show_next(folder)


def _draw_like(options: SynthOptions, like: list[str]) -> None:
    from unmask import api

    result = api.synth(
        like,
        out=_out(options),
        count=options.count,
        kind=options.kind,
        size=None if options.size is None else _size(options.size),
        labels=options.labels,
        seed=options.seed,
        overwrite=options.overwrite,
        settings=options.settings or (),
        say=show,
    )
    for group in result.groups:
        record = {
            "kind": group.kind, "images": len(group.images), "diameter": group.diameter,
            "distance": group.distance, "fit": group.word, "drawn": group.count,
            "rivals": dict(group.rivals),
        }  # fmt: skip
        # Distances of other families are in units of their own, so they do not compare.
        rivals = ", ".join(name for name, _ in group.rivals)
        emit(record, f"{format_count(len(group.images), 'image')}: {group.kind}, objects about "
                     f"{group.diameter:.0f} px wide; fit: {group.word} (distance "
                     f"{group.distance:.2f}; up to 1.2 is close). If the drawn objects look wrong, "
                     f"try another family with --kind: {rivals}")  # fmt: skip
    for note in result.notes:
        emit({"note": note}, f"Note: {note}")
    emit({"images": result.count, "folder": result.folder},
         f"{result.count} images with labels: {result.folder}")  # fmt: skip
    weak = [group.kind for group in result.groups if not group.fits]
    if weak:
        show(
            f"Warning: {join_names(weak)} hardly {'resemble' if len(weak) > 1 else 'resembles'} "
            "your images, so a model that is trained on the drawn images may fail on yours. "
            "Compare them first, or label a few of your images instead."
        )
    _show_next(result.folder)


def _show_next(folder: Path) -> None:
    images, labels = folder / "images", folder / "labels"
    out = Path("runs") / folder.absolute().name
    show_next(["unmask", "train", images, "--labels", labels, "--out", out])


def _out(options: SynthOptions) -> Path:
    if options.out is None:
        raise typer.BadParameter(
            "expected --out FOLDER for the images and labels, found none. Give it."
        )
    return options.out


def _size(text: str) -> list[int]:
    from unmask.phantoms.request import parse_numbers

    return [int(n) for n in parse_numbers("--size", text, whole=True)]
