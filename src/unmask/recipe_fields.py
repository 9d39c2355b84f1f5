"""The fields of a recipe as a table: path, type, default and description.

The reference page of the recipe and ``unmask presets NAME --all`` are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unmask.recipe import Part, Recipe
from unmask.yaml_text import write_yaml


@dataclass(frozen=True)
class FieldDescription:
    """One field.

    Attributes:
        path: name with those of its sections, such as ``train.lr``, as in ``--set``.
        type: values that it takes, with their limits.
        default: as YAML; None if the field is required.
        description: what it means.
    """

    path: str
    type: str
    default: str | None
    description: str


def describe_fields(model: type[BaseModel] = Recipe, prefix: str = "") -> list[FieldDescription]:
    """All fields in the order of the recipe, those of sections included.

    Examples:
        >>> next(field for field in describe_fields() if field.path == "train.lr").default
        '0.001'
    """
    return list(_fields(model, prefix))


def _fields(model: type[BaseModel], prefix: str) -> Iterator[FieldDescription]:
    for name, info in model.model_fields.items():
        section = _section(info.annotation)
        optional = NoneType in get_args(info.annotation)
        if section is None or optional:
            yield FieldDescription(
                prefix + name, _type_of(info), _default(info), info.description or ""
            )
        if section is not None:
            yield from _fields(section, f"{prefix}{name}.")


def value_at(recipe: Any, path: str) -> Any:
    """The value of a field of a recipe; None inside a section that is not there."""
    for name in filter(None, path.split(".")):
        recipe = getattr(recipe, name, None)
    return recipe


def format_value(value: Any) -> str:
    """A value as YAML on one line.

    Examples:
        >>> format_value((0.5, 2)), format_value(Part(name="resunet", width=8)), format_value(None)
        ('[0.5, 2]', '{name: resunet, width: 8}', 'null')
    """
    plain = _plain(value)
    if isinstance(plain, dict) and plain.keys() == {"name"}:
        plain = plain["name"]
    if plain == "":
        return '""'
    return _flow(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        if value.keys() == {"name"}:
            return _flow(value["name"])
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return write_yaml({"x": value}).strip().removeprefix("x:").strip()


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds; a part is a value, not a section."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and not issubclass(kind, Part):
            return kind
    return None


def _default(info: FieldInfo) -> str | None:
    return None if info.is_required() else format_value(info.get_default(call_default_factory=True))


def _type_of(info: FieldInfo) -> str:
    limits = [text for each in info.metadata if (text := _limit(each))]
    return ", ".join([_type(info.annotation), *limits])


def _limit(constraint: Any) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [(sign, getattr(constraint, name, None)) for name, sign in signs.items()]
    return " and ".join(f"{sign} {value:g}" for sign, value in found if value is not None)


def _type(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [text for each in args[1:] if (text := _limit(each))]
        return " ".join([_type(args[0]), *(f"({text})" for text in limits)])
    if origin is Literal:
        return " | ".join(str(value) for value in args)
    if origin in {Union, UnionType}:
        return " | ".join(dict.fromkeys(_type(each) for each in args))
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return "part"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {str: "text", int: "integer", float: "number", bool: "true | false", NoneType: "null"}
    return names.get(annotation, str(annotation))
