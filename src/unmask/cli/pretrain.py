"""``unmask pretrain``: options and printing only."""

from __future__ import annotations

from dataclasses import dataclass

from unmask.cli.options import (
    Channels,
    Devices,
    Images,
    ImagesOption,
    Init,
    Out,
    Precision,
    Preset,
    RecipeFile,
    Resume,
    Settings,
    add_precision,
    channel_settings,
    choose_images,
    choose_recipe,
)
from unmask.cli.terminal import emit


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Arguments and options of the verb."""

    images: Images = None
    images_option: ImagesOption = None
    out: Out
    preset: Preset = None
    recipe: RecipeFile = None
    init: Init = None
    channels: Channels = None
    settings: Settings = None
    devices: Devices = 1
    precision: Precision = None
    resume: Resume = False


def pretrain(options: PretrainOptions) -> None:
    """Pre-train a network on images without labels, by masked reconstruction.

    The resulting run is a starting point for `unmask train --init`, or the model of
    `unmask cluster`.

    In our measurements masked pre-training on tens to hundreds of images for a few minutes has not
    saved a label in fine-tuning, while supervised pre-training on phantoms (synthetic images with
    known truth) has: 2 labels do what 8 do from scratch on nuclei. Published gains of masked
    pre-training begin at tens of thousands of volumes. It paid once where features are used as they
    are: for a classifier of a few labeled pixels. Measure it on your own images with `unmask
    curve`.

    Examples:
        # A transformer on 2D images
        unmask pretrain images/ --preset mae2d --out runs/pretrained
        # A convolutional network on volumes, with fewer steps
        unmask pretrain volumes/ --preset spark3d --set train.steps=2000 --out runs/pretrained
        # Continue after an interruption
        unmask pretrain images/ --preset mae2d --out runs/pretrained --resume
    """
    from unmask import api
    from unmask.training.parallel import is_first

    run = api.pretrain(
        choose_recipe(options.preset, options.recipe),
        images=choose_images(options.images, options.images_option),
        out=options.out,
        init=options.init,
        settings=[
            *channel_settings(options.channels, network=True),
            *add_precision(options.settings, options.precision),
        ],
        devices=options.devices,
        resume=options.resume,
    )
    if is_first():
        emit({"run": options.out, "model": run.model}, f"Model: {run.model}")
