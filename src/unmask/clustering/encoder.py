"""The backbone of any model file, to look at images with: of a pre-training or of a segmenter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unmask import checkpoint
from unmask.build import build_backbone
from unmask.checkpoint.card import channel_names
from unmask.clustering.dense import Dense
from unmask.data.channel_choice import EVERY, ChannelChoice
from unmask.errors import RecipeError, message
from unmask.io import use_formats
from unmask.models.base import TokenBackbone
from unmask.models.digest import digest_weights
from unmask.models.finished import build_finished
from unmask.recipe import Recipe
from unmask.space.devices import find_device

# What may differ between training and looking.
_FREE = (
    *("data.formats", "data.normalize", "data.axes", "data.spacing", "data.foreground_crop"),
    "data.use_channels",
    *("infer.precision", "infer.batch_size"),
)


@dataclass(frozen=True)
class Encoder:
    """A backbone and what it expects of images.

    Attributes:
        backbone: in evaluation mode, on the GPU if there is one.
        recipe: of its training, with the settings.
        digest: of its weights.
        channels: channels of the files that it sees.
    """

    backbone: Any
    recipe: Recipe
    digest: str
    channels: ChannelChoice = EVERY

    def dense(self, features: Features) -> Dense:
        """What computes its features; see ``Dense`` for the errors."""
        given = self.recipe.infer
        return Dense(
            self.backbone,
            precision=given.precision,
            batch_size=given.batch_size,
            **asdict(features),
        )


@dataclass(frozen=True)
class Features:
    """Which features of a backbone are computed; see ``Dense``.

    Attributes:
        quality: ``exact``, ``fast`` or ``draft``.
        compat: ``aligned`` or ``official``.
        neighborhood: standard deviation of the neighborhood in voxels; 0: none.
        rotations: whether four rotations are averaged.
    """

    quality: str = "exact"
    compat: str = "aligned"
    neighborhood: float = 0.0
    rotations: bool = False


@dataclass(frozen=True)
class DenseFile:
    """Loads what computes features; equal values load the same.

    Attributes:
        model: model file or run folder.
        settings: changes to its recipe.
        features: which features.
        allow_code: the user allows that code of the model runs.
        device: where it runs, see `find_device`.
    """

    model: str
    settings: tuple[str, ...]
    features: Features
    allow_code: bool = False
    device: str = "auto"

    def __call__(self) -> tuple[Dense, str]:
        """What computes features, and the digest of its weights."""
        given: dict[str, Any] = {"allow_code": self.allow_code, "device": self.device}
        encoder = load_encoder(self.model, self.settings, **given)
        return encoder.dense(self.features), encoder.digest


def load_encoder(
    path: str | Path,
    settings: Iterable[str] = (),
    *,
    allow_code: bool = False,
    device: str = "auto",
    say: Callable[[str], None] | None = None,
) -> Encoder:
    """Load the backbone of a model file or run folder.

    Args:
        path: the model.
        settings: changes to ``data.normalize``, ``data.axes`` and arithmetic.
        allow_code: run parts that the model carries as source.
        device: where it runs, see `find_device`.
        say: gets lines about the code that runs.

    Raises:
        CheckpointError: missing, damaged, a model with code that was not allowed, or not a model of
            its recipe.
        RecipeError: another setting, or one that does not exist; no such device.
    """
    place = find_device(device)
    model = checkpoint.load_model(path)
    recipe, notes = checkpoint.recipe_inside(model.card, path, allow_code=allow_code)
    if say is not None:
        for note in notes:
            say(note)
    lines = list(settings)
    fixed = [line for line in lines if not line.strip().startswith(_FREE)]
    if fixed:
        raise RecipeError(
            f"--set {' '.join(fixed)}: expected some of {', '.join(_FREE)}, found fields that were "
            "set by the training or that are not used here. Leave them out."
        )
    weights = {
        name.removeprefix("backbone."): tensor
        for name, tensor in model.weights.items()
        if name.startswith("backbone.")
    }
    backbone = build_finished(recipe, weights, build_backbone, source=path)
    digest = digest_weights(sorted(weights.items()))
    changed = recipe.with_settings(lines)
    use_formats(changed.data.formats)
    asked = any(line.partition("=")[0].strip() == "data.use_channels" for line in lines)
    trained = () if asked else channel_names(model.card)
    choice = ChannelChoice(changed.data.use_channels, trained)
    return Encoder(backbone.to(place), changed, digest, choice)


def check_tokens(encoder: Encoder, path: str | Path) -> None:
    """Refuse a model whose features are not those of patch tokens.

    Raises:
        RecipeError: it has none.
    """
    if not isinstance(encoder.backbone, TokenBackbone):
        raise RecipeError(
            message(
                path,
                expected="a model with patch tokens, such as a vit",
                found=f"a {encoder.recipe.model.backbone.name}, which has none",
                do="Pre-train one: unmask pretrain IMAGES --preset maester_small --out RUN.",
            )
        )
