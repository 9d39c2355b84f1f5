"""``shipped_models``: what comes with the package; ``model_card``: what any model says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from unmask import shipped
from unmask.api.values import ModelLike
from unmask.checkpoint import DescribedModel, describe_model, described_recipe
from unmask.checkpoint.card import channel_names
from unmask.errors import CheckpointError
from unmask.plain_text import printable
from unmask.plugins import references
from unmask.recipe import Recipe
from unmask.renamed import accept_former_names
from unmask.wording import format_count

# Characters of one value, and entries of a list, that are shown.
_LONGEST, _SHOWN = 300, 4
_EXPORTED = {".onnx", ".pt", ".zip"}


@accept_former_names(licence="license", figures="scores")
@dataclass(frozen=True)
class ShippedModel:
    """The card of a shipped model.

    Attributes:
        name: what to give as a model.
        path: its file.
        description: what it segments.
        task: name of its task.
        ndim: number of spatial axes.
        channels: channels that the network sees.
        data: what it was trained on: name, license, source, citation.
        license: of the weights.
        scores: metrics by name, on images that were not trained on.
        images: which images those were.
    """

    name: str
    path: Path
    description: str
    task: str
    ndim: int
    channels: int
    data: Mapping[str, str]
    license: str
    scores: Mapping[str, float]
    images: str

    def to_text(self) -> str:
        """A few lines for a terminal."""
        size = self.path.stat().st_size / 1e6
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        return "\n".join(
            [
                f"{self.name:14} {self.description}",
                f"{'':14} task {self.task}, {self.ndim}D, "
                f"{format_count(self.channels, 'channel')}, {size:.1f} MB, license {self.license}",
                f"{'':14} data: {self.data['name']}, {self.data['license']}, {self.data['source']}",
                f"{'':14} {self.images}: {scores}",
            ]
        )


def shipped_models() -> list[ShippedModel]:
    """The shipped models, by name.

    Examples:
        >>> [model.name for model in shipped_models()]
        ['generalist2d', 'nuclei', 'phantoms2d', 'phantoms3d']
    """
    return [_describe_shipped(name, path) for name, path in shipped.names().items()]


def _describe_shipped(name: str, path: Path) -> ShippedModel:
    card = describe_model(path).card
    recipe = described_recipe(card, path)
    missing = [key for key in ("data", "license", "figures") if key not in card]
    if missing or recipe.task is None:
        raise CheckpointError(
            f"{path}: expected a segmenter that names its data, license and figures, found a card "
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
        license=card["license"],
        scores=card["figures"]["all"],
        images=card["figures"]["images"],
    )


@dataclass(frozen=True)
class ModelCard:
    """What a model says about itself; nothing of it is run, and nothing is verified but its bits.

    Attributes:
        name: of the recipe.
        path: the model file.
        facts: title to text, in the order of reading.
        card: everything, as plain values.
    """

    name: str
    path: Path
    facts: Mapping[str, str]
    card: Mapping[str, Any]

    def to_text(self) -> str:
        """A line for each fact, safe to print."""
        width = max(map(len, self.facts), default=0)
        lines = [printable(self.path, one_line=True)]
        lines += [
            f"  {title:{width}}  {printable(text, one_line=True)}"
            for title, text in self.facts.items()
        ]
        return "\n".join(lines)


def model_card(model: ModelLike) -> ModelCard:
    """What a model file, a run's best model, a shipped model or an exported file says of itself.

    Raises:
        CheckpointError: there is none, or it is damaged.
        RecipeError: its recipe is not valid.

    Examples:
        >>> model_card("nuclei").facts["task"]
        'flows (flow_error: 0.8)'
    """
    loaded = _describe(model)
    recipe = described_recipe(loaded.card, model)
    names = channel_names(loaded.card)
    facts = _network_facts(recipe, names) | _training_facts(loaded) | _code_facts(loaded, recipe)
    shown = {title: _cut(text) for title, text in facts.items() if text}
    return ModelCard(recipe.name, loaded.path, shown, loaded.card)


def _describe(model: ModelLike) -> DescribedModel:
    # Exported files are opened by libraries that take seconds to import.
    if Path(model).suffix.lower() in _EXPORTED:
        from unmask.exports.runtime import describe_exported
        from unmask.infer.load import is_exported

        if is_exported(model):
            return DescribedModel({}, describe_exported(Path(model))["card"], Path(model))
    return describe_model(model)


def _network_facts(recipe: Recipe, names: Sequence[str]) -> dict[str, str]:
    data, purpose = recipe.data, recipe.task or recipe.method
    parts = {"backbone": recipe.model.backbone, "decoder": recipe.model.decoder}
    return {
        "name": recipe.name,
        "description": recipe.description,
        "task" if recipe.task else "pre-trained by": _part(purpose),
        "axes": f"{data.ndim}D, crops of {' x '.join(map(str, data.crop))} voxels",
        "channels": str(data.channels) + (f" ({', '.join(names)})" if names else ""),
        "spacing": "that of each image" if data.spacing is None else _text(data.spacing),
        "normalize": _part(data.normalize),
        **{name: _part(part) for name, part in parts.items()},
    }


def _training_facts(model: DescribedModel) -> dict[str, str]:
    card, numbers = model.card, sum(map(prod, model.shapes.values()))
    data = card.get("data")
    named = isinstance(data, Mapping) and "name" in data
    files = [] if named or not isinstance(data, Mapping) else [str(name) for name in data]
    more = f", {len(files)} files in all" if len(files) > _SHOWN else ""
    tensors = f"{len(model.shapes)} tensors, {numbers:,} numbers, " if model.shapes else ""
    return {
        "object diameters": _text(card.get("object_diameters")),
        "trained on": f"{', '.join(files[:_SHOWN])}{more}" if files else _text(data),
        "started from": _text(card.get("start")),
        "updates": _text(card.get("step")),
        "scores": _text(card.get("figures") or card.get("metrics")),
        "license": _text(card.get("license")),
        "origin": _text(card.get("origin")),
        "versions": _text(card.get("versions")),
        "weights": f"{tensors}{model.path.stat().st_size / 1e6:.1f} MB",
    }


def _code_facts(model: DescribedModel, recipe: Recipe) -> dict[str, str]:
    named = {name for _, name in references(recipe.model_dump(exclude={"name", "description"}))}
    carried = model.card.get("code")
    files = [
        f"{entry.get('file')} (SHA-256 {str(entry.get('sha256'))[:16]})"
        for entry in (carried if isinstance(carried, list) else [])
        if isinstance(entry, dict)
    ]
    inside = f"; source inside: {', '.join(files)}" if files else "; no source inside"
    return {"code": f"{', '.join(sorted(named))}{inside}; runs with --allow-code" if named else ""}


def _part(part: Any) -> str:
    if part is None:
        return "by the backbone"
    options = part.choice.options
    return f"{part.name} ({_text(options)})" if options else part.name


def _text(value: object) -> str:
    """A value of a card for people; "" for nothing."""
    if value is None or value in ({}, [], ""):
        return ""
    if isinstance(value, Mapping):
        inner = {key: _text(item) or item for key, item in value.items()}
        nested = {key for key, item in value.items() if isinstance(item, Mapping)}
        return ", ".join(
            f"{key} ({text})" if key in nested else f"{key}: {text}" for key, text in inner.items()
        )
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
