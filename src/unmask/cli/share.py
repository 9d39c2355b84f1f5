"""``unmask share``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from unmask.cli.options import DATA, OUTPUT
from unmask.cli.terminal import emit, show

_CARD = "Card"


@dataclass(frozen=True, kw_only=True)
class ShareOptions:
    """Arguments and options of the verb."""

    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run (its best model), a model file or a model by its name."
        ),
    ]
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FOLDER|hf:OWNER/NAME",
            help="A new folder, or a repository on the Hugging Face Hub (extra hub).",
            rich_help_panel=OUTPUT,
        ),
    ]
    license_name: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="SPDX",
            help="License of the weights: an SPDX identifier such as CC-BY-4.0, or LicenseRef-NAME "
            "for another one. Default: the one in the model's card.",
            rich_help_panel=_CARD,
        ),
    ] = None
    author: Annotated[
        list[str] | None,
        typer.Option(
            "--author",
            metavar="NAME",
            help="An author, for the citation. Repeat it for several.",
            rich_help_panel=_CARD,
        ),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="TEXT",
            help="What the model was trained on, with its source and license. Names of your files "
            "are never shared.",
            rich_help_panel=_CARD,
        ),
    ] = None
    title: Annotated[
        str | None,
        typer.Option(
            "--title",
            metavar="TEXT",
            help="Name of the model. Default: the name of its recipe; of a planned one, that of "
            "the folder or repository.",
            rich_help_panel=_CARD,
        ),
    ] = None
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--images",
            metavar="PATH",
            help="Images for examples: pictures of predictions on the first three are shared.",
            rich_help_panel=DATA,
        ),
    ] = None
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Make a new repository on the hub public. Otherwise it is private.",
            rich_help_panel=OUTPUT,
        ),
    ] = False
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a model that was shared there before.",
            rich_help_panel=OUTPUT,
        ),
    ] = False


def share(options: ShareOptions) -> None:
    """Share a model, with a card, examples, a citation and digests.

    The model keeps its weights. Its card names the license, the authors, the training data and the
    scores. On the hub, others use it as --model hf:OWNER/NAME.

    Examples:
        # A folder to send or to archive
        unmask share runs/cells --to cells-model/ --license CC-BY-4.0 --author "A. Lab"
        # A private repository on the hub, with pictures of predictions
        unmask share runs/cells --to hf:lab/cells --license MIT --images examples/
    """
    from unmask.api import sharing

    owner = sharing.Owner(
        options.title, options.license_name, tuple(options.author or ()), options.data
    )
    shared = sharing.share(
        options.model,
        to=options.to,
        options=sharing.ShareOptions(owner, options.images, options.public, options.overwrite),
        say=show,
    )
    record = {"to": shared.to, "model": shared.model, "license": shared.license}
    emit({**record, "files": shared.files, "doubts": shared.doubts}, shared.to_text())
