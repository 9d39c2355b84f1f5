"""The chain of models whose weights a model started from, as its card keeps it.

Their licenses and citations stay valid after any number of trainings, so the card of each model
repeats those of the model before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unmask import hub
from unmask.checkpoint.model import MODEL_FILE, describe_model

_DATA = ("name", "license", "source", "citation")
_START, _ORIGIN = "start", "origin"
# A chain is shown up to this length; a longer one comes from a card that was made by hand.
_LONGEST = 50


@dataclass(frozen=True)
class Ancestor:
    """A model or published file that weights come from.

    Attributes:
        name: of the model, or title of the published weights.
        license: of its weights; empty: its card names none.
        data: name, license, source and citation of its training data; empty: not described.
        authors: names of people or groups.
    """

    name: str
    license: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    authors: tuple[str, ...] = ()


def start_fields(model: str | Path) -> dict[str, Any]:
    """The field of a card that says which model the weights started from, and from which that did.

    Raises:
        CheckpointError: the model cannot be read.
    """
    card = describe_model(model).card
    kept = {key: card[key] for key in ("license", "authors", _ORIGIN, _START) if card.get(key)}
    data = described_data(card.get("data"))
    return {_START: {"model": str(model), **kept, **({"data": data} if data else {})}}


def described_data(data: object) -> dict[str, str]:
    """The training data in a card without names of files: described, or counted; empty: unknown."""
    if not isinstance(data, Mapping) or not data:
        return {}
    if "name" in data:
        return {key: str(data[key]) for key in _DATA if key in data}
    return {"name": f"{len(data)} files of the authors (images and labels)"}


def ancestors(card: Mapping[str, Any]) -> tuple[Ancestor, ...]:
    """The models and published files that the weights of a model come from, the nearest first."""
    return tuple(_walk(card))


def without_folders(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card with names of models instead of paths on the computer of their owner."""
    start = card.get(_START)
    if not isinstance(start, Mapping):
        return dict(card)
    name = _without_folder(str(start.get("model", "")))
    return {**card, _START: {**without_folders(start), "model": name}}


def _without_folder(model: str) -> str:
    """The name of a model; a model of a hub keeps its owner."""
    if model.startswith(hub.PREFIX):
        return model
    path = Path(model)
    return (path.parent if path.name == MODEL_FILE else path).name


def _walk(card: Mapping[str, Any]) -> Iterator[Ancestor]:
    for _ in range(_LONGEST):
        origin, start = card.get(_ORIGIN), card.get(_START)
        if isinstance(origin, Mapping):
            title = origin.get("title") or origin.get("source") or origin.get("package")
            yield Ancestor(str(title or "published weights"), str(origin.get("license") or ""))
        if not isinstance(start, Mapping):
            return
        authors = start.get("authors")
        yield Ancestor(
            _without_folder(str(start.get("model", ""))),
            str(start.get("license") or ""),
            described_data(start.get("data")),
            tuple(map(str, authors)) if isinstance(authors, list) else (),
        )
        card = start
