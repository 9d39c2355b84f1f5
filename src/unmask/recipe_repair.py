"""Recipes of older versions, and recipes without their wrong fields."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from unmask.errors import RecipeError

# Options of the task embeddings that have the balance of the published programs, by number of axes.
_PUBLISHED_BALANCE = {
    2: {"border_pairs": "joined", "side_border_pairs": "joined", "reduction": "row_sum"},
    3: {"border_pairs": "apart", "side_border_pairs": "object", "reduction": "mean"},
}


def published_balance(ndim: int) -> dict[str, Any]:
    """What the flag ``published_scale`` of the task embeddings meant in version 0.1.

    Raises:
        RecipeError: there is no published program for so many axes.
    """
    if ndim not in _PUBLISHED_BALANCE:
        raise RecipeError(
            f"task embeddings: published_scale: expected 2 or 3 axes, found {ndim}. Set "
            "border_pairs, side_border_pairs and reduction."
        )
    return _PUBLISHED_BALANCE[ndim]


# Options that were renamed, by the field and the name of their part.
_RENAMED = {("method", "glmae"): {"centre_momentum": "center_momentum"}}


def replace_old_options(tree: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """A recipe of an older version with the options of this one; each change gives a warning.

    Args:
        tree: fields and values.
        source: name of the recipe in the warning.
    """
    return _replace_flag(_rename_options(dict(tree), source), source)


def _rename_options(tree: dict[str, Any], source: str) -> dict[str, Any]:
    for (field, name), renamed in _RENAMED.items():
        part = tree.get(field)
        if not isinstance(part, Mapping) or part.get("name") != name:
            continue
        old = [option for option in renamed if option in part]
        for option in old:
            text = f"{source}: {field}.{option} is now {field}.{renamed[option]}. Rename it."
            warnings.warn(text, FutureWarning, stacklevel=4)
        if old:
            tree[field] = {renamed.get(option, option): value for option, value in part.items()}
    return tree


def _replace_flag(tree: dict[str, Any], source: str) -> dict[str, Any]:
    """The flag ``published_scale`` of the task embeddings as the options that it stood for."""
    task, data = tree.get("task"), tree.get("data")
    crop = data.get("crop") if isinstance(data, Mapping) else None
    if (
        not isinstance(task, Mapping)
        or task.get("name") != "embeddings"
        or "published_scale" not in task
        or not isinstance(crop, Sequence)
    ):
        return tree
    options = {name: value for name, value in task.items() if name != "published_scale"}
    new = published_balance(len(crop)) if task["published_scale"] else {}
    words = ", ".join(f"task.{name}={value}" for name, value in new.items())
    warnings.warn(
        f"{source}: task.published_scale={task['published_scale']} is read as "
        f"{words or 'the defaults'}. Write these options instead.",
        FutureWarning,
        stacklevel=4,
    )
    return {**tree, "task": {**new, **options}}


def without_wrong(
    tree: dict[str, Any], error: ValidationError, instead: Mapping[str, Any]
) -> dict[str, Any]:
    """A copy without the fields of an error, or with what they were before."""
    copy = deepcopy(tree)
    for item in error.errors():
        # A union's name stands behind the field; what cannot be reached is left as it is.
        _restore(copy, [str(part) for part in item["loc"]] or ["infer"], instead)
    return copy


def _restore(node: Any, place: list[str], before: Any) -> None:
    """Take ``place`` out of a tree of mappings, or put back what was there before."""
    name, *rest = place
    known = before.get(name) if isinstance(before, Mapping) else None
    inner = node.get(name) if isinstance(node, dict) else None
    siblings = known if isinstance(known, Mapping) else {}
    if rest and isinstance(inner, dict) and (rest[0] in inner or rest[0] in siblings):
        _restore(inner, rest, known)
    elif known is not None:
        node[name] = known
    elif isinstance(node, dict):
        node.pop(name, None)
