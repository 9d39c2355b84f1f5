"""``unmask pretrain``: options and printing only."""

from __future__ import annotations

from unmask.cli.options import (
    Devices,
    Images,
    Init,
    Out,
    Precision,
    Preset,
    RecipeFile,
    Resume,
    Settings,
    chosen_recipe,
    settings_with_precision,
)
from unmask.cli.terminal import show


def pretrain(  # noqa: PLR0913 - the options promised
    images: Images,
    out: Out,
    preset: Preset = None,
    recipe: RecipeFile = None,
    init: Init = None,
    settings: Settings = None,
    devices: Devices = 1,
    precision: Precision = None,
    resume: Resume = False,  # noqa: FBT002 - a flag of the command line
) -> None:
    """Learn from unlabeled images."""
    from unmask import api
    from unmask.training.parallel import is_first

    run = api.pretrain(
        chosen_recipe(preset, recipe),
        images=images,
        out=out,
        init=init,
        settings=settings_with_precision(settings, precision),
        devices=devices,
        resume=resume,
    )
    if is_first():
        show(f"Model: {run.model}")
