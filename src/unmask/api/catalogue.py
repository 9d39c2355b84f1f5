"""``shipped_models``: what comes with the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unmask import shipped
from unmask.checkpoint import load_model
from unmask.errors import CheckpointError
from unmask.recipe import parse


@dataclass(frozen=True)
class ShippedModel:
    """What a shipped model says about itself.

    Attributes:
        name: what to give as a model.
        path: its file.
        description: what it segments.
        task: name of its task.
        ndim: number of spatial axes.
        channels: channels that the network sees.
        data: what it was trained on: name, licence, source, citation.
        licence: of the weights.
        figures: metrics by name, on images that were not trained on.
        images: which images those were.
    """

    name: str
    path: Path
    description: str
    task: str
    ndim: int
    channels: int
    data: Mapping[str, str]
    licence: str
    figures: Mapping[str, float]
    images: str

    def to_text(self) -> str:
        """A few lines for a terminal."""
        size = self.path.stat().st_size / 1e6
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.figures.items())
        return "\n".join(
            [
                f"{self.name:14} {self.description}",
                f"{'':14} task {self.task}, {self.ndim}D, {self.channels} channel(s), "
                f"{size:.1f} MB, licence {self.licence}",
                f"{'':14} data: {self.data['name']}, {self.data['licence']}, {self.data['source']}",
                f"{'':14} {self.images}: {figures}",
            ]
        )


def shipped_models() -> list[ShippedModel]:
    """The shipped models, by name.

    Examples:
        >>> [model.name for model in shipped_models()]
        ['nuclei']
    """
    return [_described(name, path) for name, path in shipped.names().items()]


def _described(name: str, path: Path) -> ShippedModel:
    card = load_model(path).card
    recipe = parse(card.get("recipe"), source=f"{path}: recipe inside")
    missing = [key for key in ("data", "licence", "figures") if key not in card]
    if missing or recipe.task is None:
        raise CheckpointError(
            f"{path}: expected a segmenter that names its data, licence and figures, found a card "
            f"without {', '.join(missing) or 'a task'}. Make it with benchmarks/ship.py."
        )
    return ShippedModel(
        name=name,
        path=path,
        description=recipe.description,
        task=recipe.task.name,
        ndim=recipe.data.ndim,
        channels=recipe.data.channels,
        data=card["data"],
        licence=card["licence"],
        figures=card["figures"]["all"],
        images=card["figures"]["images"],
    )
