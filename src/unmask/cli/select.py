"""``unmask select``: options and printing only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask.cli.options import (
    DATA,
    OUTPUT,
    Images,
    ImagesOption,
    Settings,
    choose_images,
)
from unmask.cli.terminal import emit, show, show_next
from unmask.wording import format_count

if TYPE_CHECKING:
    from unmask.api import Selected

_PANEL = "Choice"


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    count: Annotated[
        int,
        typer.Option(
            "--count",
            min=1,
            metavar="N",
            help="Number of images, or regions, to choose.",
            rich_help_panel=_PANEL,
        ),
    ]
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels",
            metavar="PATH",
            help="Existing labels. Their images are not chosen, and groups that contain one of "
            "these images come last.",
            rich_help_panel=DATA,
        ),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A model file, a run or a shipped model. Images on which its predictions for "
            "mirrored views differ are preferred.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    regions: Annotated[
        str | None,
        typer.Option(
            "--regions",
            metavar="N,N[,N]",
            help="Choose regions of this size, in voxels per axis, instead of whole images.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Text file with one chosen path per line, followed by a tab and the region, if "
            "any.",
            rich_help_panel=OUTPUT,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Seed of the clustering. Another seed chooses other images of the same kinds.",
            rich_help_panel=_PANEL,
        ),
    ] = 0
    settings: Settings = None


def select(options: SelectOptions) -> None:
    """Choose which images to label first, or next: typical images of different kinds.

    No model is needed. Images are grouped by their texture, brightness and color, and the most
    typical image of each group is chosen. With a model, images are grouped by its features, groups
    get labels in proportion to their images, and typical images about which the model is
    uncertain are preferred.

    Examples:
        # Eight images to label first
        unmask select images/ --count 8
        # Four more, of kinds that have no labels yet
        unmask select images/ --count 4 --labels labels/ --out to-label.txt
        # Four more, about which a model is uncertain
        unmask select images/ --count 4 --labels labels/ --model runs/cells
        # Six regions of a volume
        unmask select volume.tif --count 6 --regions 32,128,128
    """
    from unmask import api
    from unmask.atomic import atomic_write, refuse_folder
    from unmask.own_files import refuse_existing

    if options.out is not None:
        refuse_folder(options.out)
        refuse_existing(options.out)
    chosen = api.select(
        choose_images(options.images, options.images_option),
        count=options.count,
        labels=options.labels,
        model=options.model,
        regions=None if options.regions is None else _size(options.regions),
        seed=options.seed,
        settings=options.settings or (),
        say=show,
    )
    for each in chosen:
        emit(_record(each), _line(each))
    if len(chosen) < options.count:
        show(_too_few(options, len(chosen)))
    if options.out is not None:
        lines = (f"{each.source}{_region(each, tab=True)}\n" for each in chosen)
        atomic_write(options.out, "".join(lines))
        show(f"List: {options.out}")
    if chosen:
        images = choose_images(options.images, options.images_option)
        folder = images[0] if len(images) == 1 and Path(images[0]).is_dir() else "FOLDER"
        show(f"Label these, for example with `{shlex.join(['unmask', 'serve', folder])}` in the "
             "browser.")  # fmt: skip
        labels = [word for path in options.labels or ["LABELS"] for word in ("--labels", path)]
        show_next(["unmask", "check", *images, *labels])


def _too_few(options: SelectOptions, count: int) -> str:
    """Why there are fewer than asked for."""
    kind = "image" if options.regions is None else "region"
    if count == 0:
        where = ", ".join(options.labels or ())
        return f"note: all {kind}s have labels in {where}, so none is left to choose."
    rest = f"there {'is' if count == 1 else 'are'} only {format_count(count, kind)}"
    if options.labels:
        rest = f"only {format_count(count, f'{kind} has', f'{kind}s have')} no labels"
    return f"note: {options.count} were asked for; {rest}."


def _record(each: Selected) -> dict[str, object]:
    record: dict[str, object] = {"image": each.source, "name": each.name, "like": each.like}
    if each.box is not None:
        record |= {"start": list(each.box.start), "stop": list(each.box.stop)}
    if each.doubt is not None:
        record["doubt"] = each.doubt
    return record


def _line(each: Selected) -> str:
    doubt = "" if each.doubt is None else f"; views differ by {each.doubt:.2f}"
    kind = "image" if each.box is None else "region"
    return f"{each.source}{_region(each)}  (typical of {format_count(each.like, kind)}{doubt})"


def _region(each: Selected, *, tab: bool = False) -> str:
    from unmask.selection.regions import write_box

    return "" if each.box is None else f"{chr(9) if tab else '  '}{write_box(each.box)}"


def _size(text: str) -> list[int]:
    from unmask.phantoms.request import parse_numbers

    return [int(n) for n in parse_numbers("--regions", text, whole=True)]
