"""``unmask curve``: options and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unmask.cli.options import Images, Preset, RecipeFile, Resume, Settings, chosen_recipe
from unmask.cli.terminal import show


def curve(  # noqa: PLR0913 - the options promised
    images: Images,
    labels: Annotated[list[str], typer.Option("--labels", help="labels of the images")],
    out: Annotated[Path, typer.Option("--out", help="folder of the runs, table and plot")],
    preset: Preset = None,
    recipe: RecipeFile = None,
    val_images: Annotated[list[str] | None, typer.Option("--val-images")] = None,
    val_labels: Annotated[list[str] | None, typer.Option("--val-labels")] = None,
    unlabeled: Annotated[
        list[str] | None, typer.Option("--unlabeled", help="images to pre-train on")
    ] = None,
    pretrain: Annotated[
        str | None,
        typer.Option("--pretrain", help="presets for these: NAME,...; default: what suits"),
    ] = None,
    init: Annotated[
        list[str] | None, typer.Option("--init", help="NAME=MODEL to start from, repeatable")
    ] = None,
    labels_per_run: Annotated[
        str | None, typer.Option("--labels-per-run", help="N,N,...; default: 1,2,4,8,...")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="draws of images and seeds")] = 3,
    settings: Settings = None,
    pretrain_settings: Annotated[
        list[str] | None, typer.Option("--pretrain-set", help="KEY=VALUE of the pre-trainings")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", help="of the runs: dask scheduler's address, or processes:N"),
    ] = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """How many labels are needed, and what pre-training saves: a table, a plot, a sentence."""
    from unmask.apps.curve import Files, Plan, run_curve

    plan = Plan(
        counts=None if labels_per_run is None else _numbers(labels_per_run),
        repeats=repeats,
        starts=_named(init or []),
        pretrain=() if pretrain is None else tuple(n.strip() for n in pretrain.split(",")),
        pretrain_settings=tuple(pretrain_settings or ()),
        settings=tuple(settings or ()),
        cluster=cluster,
    )
    files = Files(images, labels, val_images, val_labels, unlabeled)
    chosen = chosen_recipe(preset, recipe)
    run_curve(chosen, files, out=out, plan=plan, resume=resume, say=show)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: give whole numbers such as 1,2,4,8") from error


def _named(pairs: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not path or name in found:
            raise typer.BadParameter(f"--init {pair}: give NAME=MODEL, each name once")
        found[name] = path
    return found
