"""From a name in a recipe to an object: ``Choice("unet", {...})`` or ``path/to/file.py:Name``."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from unmask.errors import MissingPackageError, RecipeError, UnmaskError
from unmask.options import check_options
from unmask.parts import Parts
from unmask.plugins import load_part


@dataclass(frozen=True)
class Choice:
    """A component by name with the options its constructor takes."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def find(name: str, table: Mapping[str, Callable[..., Any]], kind: str) -> Callable[..., Any]:
    """The constructor called ``name`` in ``table``, or ``Name`` of ``path/to/file.py:Name``.

    Raises:
        RecipeError: no such name (the nearest one is suggested), no such file.
    """
    if name in table:
        return table[name]
    if ":" in name:
        return load_part(name, kind)
    if isinstance(table, Parts) and (installed := table.find_installed(name)) is not None:
        return installed
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    names = f"one of {', '.join(sorted(table))}, or " if table else ""
    raise RecipeError(
        f"{kind}={name!r}: expected {names}path/to/file.py:Name, or the name of an installed part. "
        f"{hint}Correct the name."
    )


def build(choice: Choice, table: Mapping[str, Callable[..., Any]], kind: str, **given: Any) -> Any:
    """Construct ``choice``; ``given`` are arguments the builder knows (such as ``ndim``).

    ``given`` arguments that the constructor does not take are left out; options that it does not
    take are an error, with the nearest name suggested.

    Raises:
        RecipeError: an unknown name or option, or options that the constructor refuses.
    """
    constructor = find(choice.name, table, kind)
    accepted = inspect.signature(constructor).parameters
    unknown = [name for name in choice.options if name not in accepted]
    if unknown:
        near = difflib.get_close_matches(unknown[0], accepted, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"{kind} {choice.name!r} has no option {unknown[0]!r}: expected some of "
            f"{', '.join(accepted)}. {hint}Change the recipe or --set it."
        )
    known = {name: value for name, value in given.items() if name in accepted}
    options = check_options(constructor, choice.options, f"{kind} {choice.name!r}")
    try:
        return constructor(**{**known, **options})
    except UnmaskError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        # Constructors of tensors and layers raise any of these for a size that makes no sense.
        raise RecipeError(
            f"{kind} {choice.name!r}: expected options it can be built with, found "
            f"{dict(choice.options)} ({error or type(error).__name__}). Correct the recipe."
        ) from error


def optional_import(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Raises:
        MissingPackageError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{module} is needed here and is not installed ({error}). "
            f"Install it with: pip install 'unmask[{extra}]'"
        ) from error
