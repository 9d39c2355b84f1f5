"""Fields of a recipe that hold text, in YAML that reads as numbers or truth values.

``train.precision=32`` is a number in YAML and a name in the recipe. Where a field takes text and
nothing that the value could be, the field gets what is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator


def with_texts(kind: Any, value: Any, written: Any) -> Any:
    """``value`` with the written text in every field that holds text.

    Args:
        kind: annotation of the field, or a model; None where it is not known.
        value: what YAML gives.
        written: the same tree, all scalars as they are written.

    Examples:
        >>> with_texts(Literal["32", "16"], 32, "32"), with_texts(float, 32, "32")
        ('32', 32)
    """
    if isinstance(value, Mapping) and isinstance(written, Mapping):
        fields = _fields(kind)
        return {
            key: with_texts(fields.get(str(key)), item, written.get(key))
            if key in written
            else item
            for key, item in value.items()
        }
    if isinstance(value, list) and isinstance(written, list):
        inner = _items(kind)
        pairs = zip(value, written, strict=True)
        return [with_texts(inner, item, text) for item, text in pairs]
    scalar = isinstance(value, bool | int | float) and isinstance(written, str)
    return written if scalar and _holds_text(kind, type(value)) else value


def read_names(text: Any) -> Any:
    """Names of a list that is written as text, as on a command line; a list stays as it is.

    Examples:
        >>> read_names("f1@0.5, ap"), read_names("[my.py:score]"), read_names("")
        (['f1@0.5', 'ap'], ['my.py:score'], [])
    """
    if not isinstance(text, str):
        return text
    names = text.strip().removeprefix("[").removesuffix("]").split(",")
    return [name.strip(" \t'\"") for name in names if name.strip()]


Names = Annotated[tuple[str, ...], BeforeValidator(read_names)]

_INTEGER, _TRUTH = "a whole number", "true or false"
# What pydantic expects, by the type of its error.
_EXPECTED = {
    "int_type": _INTEGER, "int_parsing": _INTEGER, "int_from_float": _INTEGER,
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": _TRUTH, "bool_parsing": _TRUTH, "string_type": "text",
    "list_type": "a list such as [1, 2]", "tuple_type": "a list such as [1, 2]",
    "dict_type": "options such as {{name: value}}", "model_type": "options such as {{name: value}}",
    "greater_than": "a number greater than {gt}", "greater_than_equal": "a number of {ge} or more",
    "less_than": "a number less than {lt}", "less_than_equal": "a number of {le} or less",
    "too_short": "a list of {min_length} or more", "too_long": "a list of {max_length} or fewer",
    "literal_error": "{expected}", "none_required": "null", "missing": "a value",
}  # fmt: skip
_INPUT = "Input should be "
# Characters of a section that a message shows.
_LONG = 60


def describe_wrong(item: Mapping[str, Any]) -> str:
    """What pydantic has against a value, as ``expected ..., found ...``.

    Args:
        item: one of the errors of a ``ValidationError``.

    Examples:
        >>> describe_wrong({"type": "int_parsing", "msg": "Input should be a ...", "input": "abc"})
        "expected a whole number, found 'abc'"
        >>> describe_wrong({"type": "value_error", "msg": "Value error, no such axis"})
        'no such axis'
    """
    # A whole section or recipe would fill the message, and says nothing about the mistake.
    shown = item["type"] != "missing" and "input" in item
    shown = shown and not (isinstance(item["input"], Mapping) and len(repr(item["input"])) > _LONG)
    found = f", found {item['input']!r}"[:120] if shown else ""
    text = item["msg"].removeprefix("Value error, ")
    if (template := _EXPECTED.get(item["type"])) is not None:
        text = f"expected {template.format_map(item.get('ctx', {}))}"
    elif text.startswith(_INPUT):
        text = f"expected {text.removeprefix(_INPUT)}"
    return f"{text}{found}"


def kind_at(model: type[BaseModel], path: Sequence[str]) -> Any:
    """The annotation of a field inside sections; None for the options of a part."""
    kind: Any = model
    for name in path:
        kind = _fields(kind).get(name)
    return kind


def _members(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) in {Union, UnionType}:
        return tuple(part for each in get_args(kind) for part in _members(each))
    return (kind,)


def _fields(kind: Any) -> dict[str, Any]:
    """Annotations by the name of the field, of the models that ``kind`` allows."""
    return {
        name: info.annotation
        for each in _members(kind)
        if isinstance(each, type) and issubclass(each, BaseModel)
        for name, info in each.model_fields.items()
    }


def _items(kind: Any) -> Any:
    """Annotation of the items of a tuple; None if it is not a tuple."""
    found = [get_args(each) for each in _members(kind) if get_origin(each) is tuple]
    return found[0][0] if found and found[0] else None


def _holds_text(kind: Any, other: type) -> bool:
    """Whether a field takes text, and no value of type ``other``."""
    members = _members(kind)
    if other in members or (other is int and float in members):
        return False
    return any(
        each is str
        or (get_origin(each) is Literal and all(isinstance(v, str) for v in get_args(each)))
        # The short form of a part is its name.
        or (isinstance(each, type) and issubclass(each, BaseModel) and "name" in each.model_fields)
        for each in members
    )
