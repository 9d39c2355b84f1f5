"""The card of a model file: read as untrusted text, and the recipe inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unmask.errors import CheckpointError, message
from unmask.plugins import admit, collect
from unmask.recipe import Recipe, parse
from unmask.yaml_text import tree_problems

_CHANNELS = "channel_names"
# Fields of cards of earlier versions, by today's name.
_FORMER = {"licence": "license"}

_AGAIN = "Use another copy of the file, or make it again."


def read_card(text: str, subject: object) -> dict[str, Any]:
    """Parse the JSON text of a card.

    Raises:
        CheckpointError: not JSON, nested too deeply, a number that is not finite, or no mapping.
    """
    try:
        card = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            message(
                subject,
                expected="a card that is JSON",
                found=f"other text ({str(error)[:120] or type(error).__name__})",
                do=_AGAIN,
            )
        ) from error
    if not isinstance(card, dict):
        raise CheckpointError(
            message(
                subject,
                expected="a card of fields and values",
                found=type(card).__name__,
                do=_AGAIN,
            )
        )
    if problems := tree_problems(card):
        raise CheckpointError(
            message(subject, expected="a card of plain values", found=problems[0], do=_AGAIN)
        )
    return _rename(card)


def recipe_inside(
    card: Mapping[str, Any], subject: object, *, allow_code: bool = False
) -> tuple[Recipe, list[str]]:
    """The recipe of a model, safe to build from, and notes for the user about its code.

    Args:
        card: of the model file.
        subject: the model file, for messages.
        allow_code: the user allows that parts of the model file run.

    Raises:
        CheckpointError: the recipe has parts from files and code was not allowed.
        RecipeError: the card holds no valid recipe.
    """
    tree = described_recipe(card, subject).model_dump(mode="json")
    accepted, notes = admit(tree, card.get("code"), subject=subject, allow_code=allow_code)
    return parse(accepted, source=f"{subject}: recipe inside"), notes


def described_recipe(card: Mapping[str, Any], subject: object) -> Recipe:
    """The recipe of a model, to be read only: build from ``recipe_inside``.

    Raises:
        RecipeError: the card holds no valid recipe.
    """
    return parse(card.get("recipe"), source=f"{subject}: recipe inside")


def code_fields(recipe: Recipe) -> dict[str, Any]:
    """The field of a card that carries the sources of a recipe's own parts; empty without any.

    Raises:
        RecipeError: a source that cannot be carried.
    """
    sources = collect(recipe.model_dump(mode="json"))
    return {"code": sources} if sources else {}


def channel_fields(names: Sequence[str]) -> dict[str, list[str]]:
    """The field of a card with the names of the channels that a model was trained on, if any."""
    return {_CHANNELS: list(names)} if names else {}


def channel_names(card: Mapping[str, object]) -> tuple[str, ...]:
    """The names of the channels that a model was trained on; none if its card has none."""
    names = card.get(_CHANNELS)
    known = isinstance(names, list) and all(isinstance(each, str) and each for each in names)
    return tuple(map(str, names)) if known and isinstance(names, list) else ()


def _rename(card: dict[str, Any]) -> dict[str, Any]:
    """The card with today's names of fields; parts of a recipe keep theirs."""
    return {
        _FORMER.get(key, key): _rename(value)
        if isinstance(value, dict) and key != "recipe"
        else value
        for key, value in card.items()
    }


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a finite number")
