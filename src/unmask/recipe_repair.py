"""A recipe without its wrong fields, so that all other mistakes can be reported with them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import ValidationError


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
