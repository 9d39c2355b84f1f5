"""Options of parts against the annotations of their constructors.

A recipe knows no part, so its options are values of any type. Checking them where a part is built
turns a wrong one into a message that names the option, instead of an error somewhere inside.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from unmask.errors import RecipeError, gather
from unmask.recipe_text import describe_wrong

_NO_CHECK = (PydanticUserError, PydanticSchemaGenerationError, NameError, TypeError, SyntaxError)


def check_options(
    constructor: Callable[..., Any], options: Mapping[str, Any], label: str
) -> dict[str, Any]:
    """The options as the constructor takes them.

    Text that reads as a number or a truth value becomes one where the constructor asks for it, and
    a number becomes text. Annotations that cannot be evaluated are not checked.

    Args:
        constructor: class or function with annotated arguments.
        options: values by name, all of them arguments of the constructor.
        label: the part, for messages.

    Raises:
        RecipeError: every option of a wrong type.

    Examples:
        >>> def blur(p: float = 0.5, name: str = ""): ...
        >>> check_options(blur, {"p": "1e-3", "name": 3}, "data.augment 'blur'")
        {'p': 0.001, 'name': '3'}
    """
    kinds = _kinds(constructor)
    fitting, problems = dict(options), []
    for name, value in options.items():
        if name not in kinds:
            continue
        try:
            fitting[name] = _fitting(kinds[name], value)
        except ValidationError as error:
            first = error.errors()[0]
            inner = "".join(f"[{step}]" for step in first["loc"] if isinstance(step, int))
            problems.append(
                f"{label}: option {name}{inner}: {describe_wrong(first)}. Correct the recipe."
            )
    if problems:
        one = len(problems) == 1
        text = problems[0] if one else gather(problems, heading=f"{len(problems)} problems found:")
        raise RecipeError(text, problems)
    return fitting


def _fitting(kind: TypeAdapter[Any], value: Any) -> Any:
    try:
        found = kind.validate_python(value)
    except ValidationError:
        if (text := _as_text(value)) == value:
            raise
        return kind.validate_python(text)
    # Other values stay as they are: a list that a constructor takes need not become a tuple.
    changed = isinstance(value, str | int | float) and type(found) is not type(value)
    return found if changed else value


def _as_text(value: Any) -> Any:
    """A scalar, or the scalars of a list, as text: names of classes such as [0, 1]."""
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


@lru_cache(maxsize=512)
def _kinds(constructor: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What can be checked of a constructor's arguments, by name."""
    try:
        parameters = inspect.signature(constructor, eval_str=True).parameters
    except (*_NO_CHECK, AttributeError, ValueError):
        return {}
    found: dict[str, TypeAdapter[Any]] = {}
    for name, parameter in parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            continue
        try:
            config = ConfigDict(arbitrary_types_allowed=True)
            found[name] = TypeAdapter(parameter.annotation, config=config)
        except _NO_CHECK:
            # A dataclass or model as annotation brings its own configuration.
            continue
    return found
