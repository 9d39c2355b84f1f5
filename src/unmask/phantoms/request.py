"""What a user asks for in text: sizes, options, and the list of families."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unmask.errors import DataError, RecipeError, message
from unmask.phantoms.families import FAMILIES
from unmask.yaml_text import read_yaml


def describe_families() -> dict[str, str]:
    """The first sentence of every family's documentation, by name."""
    return {name: (FAMILIES[name].__doc__ or "").strip().split("\n")[0] for name in FAMILIES}


def parse_numbers(option: str, text: str, *, whole: bool = False) -> list[float]:
    """Numbers separated by commas.

    Raises:
        DataError: something else.

    Examples:
        >>> parse_numbers("--size", "64, 96", whole=True)
        [64.0, 96.0]
    """
    try:
        numbers = [float(item) for item in text.replace("x", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or (whole and any(n != int(n) for n in numbers)):
        kind = "whole numbers" if whole else "numbers"
        raise DataError(
            message(
                option,
                expected=f"{kind} separated by commas",
                found=repr(text),
                do="Give for example 192,192.",
            )
        )
    return numbers


def parse_options(settings: Iterable[str]) -> dict[str, Any]:
    """Options of a family from lines like ``diameter=[10,30]``.

    Raises:
        RecipeError: a line without ``=``, or a value that is not YAML.

    Examples:
        >>> parse_options(["diameter=[10, 30]", "count=4"])
        {'diameter': [10, 30], 'count': 4}
    """
    options = {}
    for line in settings:
        key, equal, value = line.partition("=")
        if not equal or not key.strip():
            raise RecipeError(
                message(
                    f"--set {line}",
                    expected="KEY=VALUE",
                    found=repr(line),
                    do="Give for example diameter=[10,30].",
                )
            )
        options[key.strip()] = read_yaml(value, f"--set {key.strip()}")
    return options
