"""``unmask prepare``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unmask.cli.options import DATA, OUTPUT
from unmask.cli.terminal import emit, show
from unmask.wording import format_count

if TYPE_CHECKING:
    from unmask.datasets.dataset import DataSet
    from unmask.datasets.writing import Prepared

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change an option of the set, such as fold=1. `unmask prepare SET` lists them.",
        rich_help_panel=DATA,
    ),
]

Submission = Annotated[
    bool,
    typer.Option(
        "--submission",
        help="ARCHIVE is a folder of predicted label images. Write the file that the website of "
        "the challenge accepts to --out.",
        rich_help_panel=OUTPUT,
    ),
]


def prepare(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[SET]", help="Name of the data set. Without archives, its details are printed."
        ),
    ] = None,
    archives: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[ARCHIVE...]",
            help="The archive as its authors distribute it: the unpacked folder, or the "
            "downloaded files (.zip, .tar, .h5, .tif and so on).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="New folder for the parts train, val and test, with images, labels and a README.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    settings: Settings = None,
    *,
    submission: Submission = False,
) -> None:
    """Turn the archive of a public data set into folders of images, labels and splits.

    Without arguments, the sets are listed. Nothing is downloaded: get the archive from its source,
    under its terms.

    Examples:
        unmask prepare
        unmask prepare pets
        unmask prepare pets images.tar.gz annotations.tar.gz --out pets/
        unmask prepare btcv RawData/ --set fold=1 --out btcv/
        unmask prepare cvppp predicted/ --submission --out A1.h5
    """
    from unmask import datasets

    if name is None:
        _list_sets()
        return
    if not archives:
        _print_set(name)
        return
    if out is None:
        raise typer.BadParameter(
            "expected --out FOLDER for the images and labels, found none. Give it."
        )
    if submission:
        names = datasets.submit(name, archives[0], out=out)
        count = format_count(len(names), "image")
        emit({"submission": out, "images": len(names)}, f"{count} in {out}")
        return
    prepared = datasets.prepare(name, archives, out=out, settings=settings or ())
    _report(prepared, out)


def _report(prepared: Prepared, out: Path) -> None:
    for part, count in prepared.counts.items():
        record = {"part": part, "images": count, "folder": out / part}
        emit(record, f"{part}: {format_count(count, 'image')} in {out / part}")
    if prepared.command is not None:
        emit({"command": prepared.command}, f"Train on it:\n  {prepared.command}")


def _list_sets() -> None:
    from unmask import datasets

    width = max(map(len, datasets.NAMES))
    for each in map(datasets.find_set, datasets.NAMES):
        emit(_describe(each), f"{each.name:{width}}  {each.title} ({each.license})")
    show("unmask prepare NAME says where to get the files of a set.", err=True)


def _print_set(name: str) -> None:
    from unmask.datasets import find_set

    facts = _describe(find_set(name))
    emit(facts, "\n".join(f"{title:9} {_text(value)}" for title, value in facts.items()))
    show(f"With these files: unmask prepare {name} FILES --out {name}/", err=True)


def _describe(dataset: DataSet) -> dict[str, object]:
    from unmask.datasets import set_options

    facts: dict[str, object] = {
        key: getattr(dataset, key)
        for key in ("name", "title", "license", "citation", "source", "archive", "preset")
    }
    return facts | {"options": set_options(dataset)}


def _text(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "none"
    return "none" if value is None else value
