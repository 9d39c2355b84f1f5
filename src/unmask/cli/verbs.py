"""The table of verbs, and the options that all of them have."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from unmask.cli.help import Command
from unmask.cli.terminal import direct_messages
from unmask.errors import UnmaskError

# In the order of a project. A verb is the function of its name in the module of its name.
VERBS = {
    "Start": ("demo", "info", "presets", "models", "prepare", "synth"),
    "Train": ("check", "plan", "select", "pretrain", "train", "tune"),
    "Use": ("predict", "measure", "view", "cluster", "serve"),
    "Compare": ("evaluate", "folds", "curve", "plot"),
    "Exchange": ("convert", "export", "share"),
}

_PANEL = "Messages"
# Advice about a file that needs an option which some verbs lack, and what to do with those.
_SETTING = "--set data."
_NO_SETTING = "`unmask {}` has no --set: convert the file to OME-TIFF or OME-Zarr instead."
_COMMON = {
    "quiet": Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="Print results and errors only.", rich_help_panel=_PANEL
        ),
    ],
    "verbose": Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Print versions, the elapsed time and the origin of errors as well.",
            rich_help_panel=_PANEL,
        ),
    ],
    "as_json": Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print results as JSON, one object per line on standard output. "
            "Notes go to standard error.",
            rich_help_panel=_PANEL,
        ),
    ],
}


def register(app: typer.Typer) -> None:
    """Add every verb to the program."""
    for panel, names in VERBS.items():
        for name in names:
            function = getattr(importlib.import_module(f"unmask.cli.{name}"), name)
            app.command(name, cls=Command, rich_help_panel=panel)(add_messages(function))


def add_messages(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a verb with ``--quiet``, ``--verbose`` and ``--json``.

    An argument that is annotated with a dataclass stands for the fields of the dataclass: each of
    them becomes an option of the command line.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = list(_parameters(function, hints))
    settable = any(parameter.name == "settings" for parameter in parameters)

    @functools.wraps(function)
    def run(*, quiet: bool, verbose: bool, as_json: bool, **given: Any) -> Any:
        with direct_messages(quiet=quiet, verbose=verbose, as_json=as_json):
            for name, kind in groups.items():
                given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            try:
                return function(**given)
            except UnmaskError as error:
                # Readers of files do not know the verb, and advise what most verbs have.
                if not settable and _SETTING in str(error):
                    error.args = (f"{error} {_NO_SETTING.format(function.__name__)}",)
                raise

    parameters += [_parameter(name, kind, default=False) for name, kind in _COMMON.items()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _parameters(function: Callable[..., Any], hints: dict[str, Any]) -> Iterator[inspect.Parameter]:
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        if not is_dataclass(kind):
            yield _parameter(name, kind, default=parameter.default)
            continue
        inner = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            yield _parameter(field.name, inner[field.name], default=default)


def _parameter(name: str, kind: Any, *, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)
