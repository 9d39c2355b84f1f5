"""Everything the command line prints: notes, results and, with ``--json``, one object per line.

Names of files and texts of model cards come from elsewhere, so control characters are escaped here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import platform
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import IO, Any, TextIO

import typer

from unmask.errors import UnmaskError, message
from unmask.plain_text import printable


@dataclass(frozen=True)
class Messages:
    """What a verb prints.

    Attributes:
        results: stream of the results, the standard output of the process.
        quiet: print results and errors only.
        verbose: print versions, elapsed time and where errors come from.
        json: print results as JSON, one object per line.
        closing: closes the displays of the verb when it ends, with an error too.
    """

    results: TextIO
    quiet: bool = False
    verbose: bool = False
    json: bool = False
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


_messages: ContextVar[Messages | None] = ContextVar("messages", default=None)


def show(text: object = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a note with escapes in place of characters that the terminal would obey.

    Args:
        text: the note.
        nl: end the line.
        err: print to standard error.
    """
    typer.echo(printable(text), nl=nl, err=err)


def show_next(*commands: Sequence[object]) -> None:
    """Print the commands that follow, each given as its words."""
    show("Next:")
    for words in commands:
        show(f"  {shlex.join(map(str, words))}")


def emit(record: Mapping[str, Any], text: object | None = None, *, nl: bool = True) -> None:
    """Print a result: the record with ``--json``, the text otherwise; None prints nothing."""
    messages = _messages.get()
    stream = sys.stdout if messages is None else messages.results
    if messages is not None and messages.json:
        line = json.dumps(_to_json(record), ensure_ascii=True, allow_nan=False)
        typer.echo(line, file=stream)
    elif text is not None:
        typer.echo(printable(text), file=stream, nl=nl)


def emit_refusal(text: str) -> None:
    """Print an error in the options of a verb as JSON; ``--json`` itself is not read yet."""
    typer.echo(json.dumps({"error": text, "exit_code": 2}))


def progress() -> Any:
    """A progress display of the windows of an image; None with ``--quiet``."""
    messages = _messages.get()
    if messages is not None and messages.quiet:
        return None
    from unmask.apps.progress import WindowProgress

    display = WindowProgress()
    if messages is not None:
        messages.closing.callback(display.close)
    return display


@contextlib.contextmanager
def direct_messages(*, quiet: bool, verbose: bool, as_json: bool) -> Generator[None]:
    """Send notes and results of one verb where its options ask for.

    With ``as_json`` notes go to standard error, so that every line of standard output is JSON.

    Raises:
        typer.BadParameter: both ``quiet`` and ``verbose``.
    """
    if quiet and verbose:
        raise typer.BadParameter(
            message("output", expected="--quiet or --verbose", found="both", do="Give one of them.")
        )
    messages = Messages(sys.stdout, quiet, verbose, as_json)
    begin = time.perf_counter()
    token = _messages.set(messages)
    try:
        with _redirect(messages), messages.closing:
            if verbose:
                logging.basicConfig(level=logging.INFO, stream=sys.stderr)
                show(_versions(), err=True)
            yield
    except (UnmaskError, OSError, typer.BadParameter) as error:
        if isinstance(error, typer.BadParameter):
            # The form of all other messages, without "Invalid value" in front of it.
            text = error.message
            error.format_message = lambda: text
        if verbose:
            show(traceback.format_exc(), err=True)
        emit({"error": str(getattr(error, "message", error)), "exit_code": 2})
        raise
    finally:
        _messages.reset(token)
        if verbose:
            show(f"Elapsed: {time.perf_counter() - begin:.1f} s", err=True)


@contextlib.contextmanager
def _redirect(messages: Messages) -> Generator[None]:
    """Notes to standard error with ``--json`` and nowhere with ``--quiet``; warnings always."""
    with contextlib.ExitStack() as stack:
        if messages.quiet:
            errors: IO[str] = sys.stderr
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
            before = warnings.showwarning

            def showwarning(
                message: Any, category: Any, filename: str, lineno: int, *_: Any
            ) -> None:
                text = warnings.formatwarning(message, category, filename, lineno)
                typer.echo(printable(text), file=errors, nl=False)

            warnings.showwarning = showwarning
            stack.callback(setattr, warnings, "showwarning", before)
        elif messages.json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in ("unmask", "torch", "numpy"):
        with contextlib.suppress(PackageNotFoundError):
            found.insert(0 if name == "unmask" else len(found), f"{name} {version(name)}")
    return f"{', '.join(found)}, {platform.system()}, {os.cpu_count()} CPUs"


def _to_json(value: Any) -> Any:
    """Paths become text; undefined and infinite numbers become null."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_to_json(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.item() if hasattr(value, "item") else str(value)
