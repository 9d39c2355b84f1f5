"""Help pages: full sentences at every terminal width, options in groups, examples first.

Rich would draw frames around them, but it cuts names of options on narrow terminals and takes as
long to import as everything else together; ``unmask --help`` has to answer at once.
"""

from __future__ import annotations

import difflib
import inspect
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from unmask import interruption
from unmask.cli.interrupted import Ended, explain_end, note_command
from unmask.cli.terminal import emit_refusal, show
from unmask.cli.usage import explain_usage
from unmask.errors import UnmaskError

_NARROW, _WIDE = 60, 100
# A space at which no line is broken: between an option and its value.
_GLUE = "\N{NO-BREAK SPACE}"
_ORDER = ("Arguments", "Data", "Recipe")
_LAST = ("Run", "Output", "Messages", "Help")
_COLUMN = 26  # Options that are longer have their text on the next line.

# Where the context of a verb keeps the words of its command.
_WORDS = "unmask.words"
# Errors that say themselves what is wrong, also if a signal came meanwhile.
_EXPLAINED = (Ended, UnmaskError, OSError, SystemExit, typer.Exit, typer.Abort, typer.BadParameter)

# Words that people type for a verb with another name.
_SYNONYMS = {
    "segment": "predict", "infer": "predict", "inference": "predict", "apply": "predict",
    "fit": "train", "finetune": "train", "eval": "evaluate", "score": "evaluate",
    "test": "evaluate", "list": "presets", "recipes": "presets", "audit": "check",
    "validate": "check", "download": "prepare", "datasets": "prepare", "import": "convert",
}  # fmt: skip

# Spellings of options of the first version.
RENAMED = {
    "--centres": "--centers",
    "--surround": "--neighborhood",
    "--turns": "--rotations",
    "--cluster": "--workers",
    "--figures": "--metrics",
}


class Command(TyperCommand):
    """A verb with its help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description, examples and the groups of options."""
        width = _width()
        summary, examples = split_examples(self.help or "")
        formatter.write(f"{_usage(self, ctx, width)}\n\n{_paragraphs(summary, width)}")
        if examples:
            formatter.write(f"\n{_title('Examples')}\n{_commands(examples, width)}")
        formatter.write(_panels(self.get_params(ctx), width))

    def get_usage(self, ctx: Any) -> str:
        """The line of usage, which messages about wrong options show as well."""
        return _usage(self, ctx, _width())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with old spellings of options replaced and wrong options explained."""
        known = {option for parameter in self.params for option in parameter.opts}
        args = [_rename(argument, known) for argument in args]
        as_json = "--json" in args
        # The parser takes words out of its list.
        ctx.meta[_WORDS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if text := explain_usage(error, self, ctx):
                error.format_message = lambda: text  # type: ignore[attr-defined]
                if as_json:
                    emit_refusal(text)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an end that was asked for says what is kept and how to continue."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            options = {option for parameter in self.params for option in parameter.opts}
            if not interruption.is_end(error) or isinstance(error, _EXPLAINED):
                note_command(error, ctx.command_path, ctx.meta[_WORDS], options)
                raise
            raise explain_end(error, ctx.command_path, ctx.meta[_WORDS], options) from error


class Group(TyperGroup):
    """The program: its verbs in groups."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, description, examples and the groups of verbs."""
        width = _width()
        summary, examples = split_examples(self.help or "")
        formatter.write(f"{_title('Usage')} {ctx.command_path} VERB [OPTIONS]\n\n")
        formatter.write(_paragraphs(summary, width))
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                text = split_examples(command.help or "")[0].split("\n\n")[0]
                groups.setdefault(command.rich_help_panel or "Verbs", []).append((name, text))
        column = 2 + max(len(name) for rows in groups.values() for name, _ in rows)
        for title, rows in groups.items():
            formatter.write(f"\n{_title(title)}\n{_rows(rows, width, column=column)}")
        if examples:
            formatter.write(f"\n{_title('Examples')}\n{_commands(examples, width)}")
        formatter.write(_panels(self.get_params(ctx), width))
        more = f"{ctx.command_path} VERB --help explains a verb and its options."
        formatter.write(f"\n{_wrap(more, width)}\n")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; the message about an unknown one names the nearest."""
        name = args[0] if args else ""
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            verbs = list(self.list_commands(ctx))
            near = difflib.get_close_matches(name, verbs, n=1, cutoff=0.0)
            best = _SYNONYMS.get(name.lower(), near[0] if near else "")
            ctx.fail(
                f"There is no verb {name!r}. Did you mean {best!r}? See {ctx.command_path} --help."
            )
        return super().resolve_command(ctx, args)


def split_examples(text: str) -> tuple[str, list[str]]:
    """A description, and the lines of its section ``Examples:``."""
    summary, _, examples = inspect.cleandoc(text).partition("\nExamples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return summary.strip(), lines


def _width() -> int:
    return max(24, min(shutil.get_terminal_size().columns, _WIDE))


def _title(text: str) -> str:
    return typer.style(f"{text}:", bold=True)


def _wrap(text: str, width: int, indent: int = 0, first: str | None = None) -> str:
    filled = textwrap.fill(
        re.sub(r"\s+", " ", text.replace(" %", f"{_GLUE}%"), flags=re.ASCII),
        width,
        initial_indent=" " * indent if first is None else first,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return filled.replace(_GLUE, " ")


def _paragraphs(text: str, width: int) -> str:
    return "\n\n".join(_wrap(part, width) for part in text.split("\n\n")) + "\n"


def _usage(command: Any, ctx: Any, width: int) -> str:
    """The line of usage, with the options that cannot be left out."""
    words, optional = [], False
    # Arguments first; the sort keeps the order otherwise.
    for parameter in sorted(command.get_params(ctx), key=lambda each: each.param_type_name):
        if getattr(parameter, "hidden", False):
            continue
        name = _metavar(parameter)
        if parameter.param_type_name == "argument":
            words.append(name)
        elif parameter.required:
            words.append(f"{parameter.opts[0]}{_GLUE}{name}")
        else:
            optional = True
    text = " ".join([ctx.command_path, *words, *(["[OPTIONS]"] if optional else [])])
    lines = _wrap(f"Usage: {text}", width, indent=7, first="")
    return lines.replace("Usage:", _title("Usage"), 1)


def _commands(lines: Sequence[str], width: int) -> str:
    """Example commands; long ones continue on further lines, as a shell takes them."""
    shown = []
    for line in lines:
        if line.startswith("#"):
            shown.append(
                _wrap(line[1:].strip(), width, indent=4, first="  # ").replace("\n    ", "\n  # ")
            )
            continue
        glued = re.sub(r"(--?[\w-]+) (?!-)", rf"\1{_GLUE}", re.sub(r"\s+", " ", line))
        parts = _wrap(glued, width - 2, indent=6, first="  ").split("\n")
        shown.append(" \\\n".join(parts))
    return "\n".join(shown) + "\n"


def _panels(parameters: Sequence[Any], width: int) -> str:
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        if getattr(parameter, "hidden", False):
            continue
        argument = parameter.param_type_name == "argument"
        usual = "Arguments" if argument else "Help"
        title = getattr(parameter, "rich_help_panel", None) or usual
        groups.setdefault(title, []).append((_name_parameter(parameter), _right(parameter)))
    titles = [title for title in groups if title not in (*_ORDER, *_LAST)]
    return "".join(
        f"\n{_title(title)}\n{_rows(groups[title], width, column=_COLUMN)}"
        for title in (*_ORDER, *titles, *_LAST)
        if groups.get(title)
    )


def _rows(rows: Sequence[tuple[str, str]], width: int, *, column: int) -> str:
    """Names and texts: side by side, or below each other on a narrow terminal."""
    lines: list[str] = []
    for name, text in rows:
        if width < _NARROW or len(name) > column - 2:
            lines.append(f"  {name}")
            indent = 6 if width < _NARROW else column + 2
            lines.append(_wrap(text, width, indent=indent))
        else:
            lines.append(_wrap(text, width, indent=column + 2, first=f"  {name:{column}}"))
    return "\n".join(line for line in lines if line.strip()) + "\n"


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    return "" if _is_flag(parameter) else str(parameter.name).upper()


def _is_flag(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False))


def _name_parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _metavar(parameter)
    names = ", ".join(sorted(parameter.opts, key=len))
    return f"{names} {_metavar(parameter)}".strip()


def _right(parameter: Any) -> str:
    """The help text, with the default if it is a value."""
    text = re.sub(r"\s+", " ", parameter.help or "").strip()
    if parameter.required and parameter.param_type_name != "argument":
        return f"{text} Required."
    default = None if callable(parameter.default) else parameter.default
    plain = isinstance(default, str | int | float) and not isinstance(default, bool)
    shown = getattr(default, "as_posix", lambda: default)()
    if (plain or shown is not default) and shown != "" and "Default:" not in text:
        return f"{text} Default: {shown}."
    return text


def _rename(argument: str, known: set[str]) -> str:
    """An argument with the new spelling of an option; a note says so."""
    name, equals, value = argument.partition("=")
    new = RENAMED.get(name)
    if new is None or name in known or new not in known:
        return argument
    show(f"Note: {name} is now spelled {new}; the old spelling will be removed.", err=True)
    return f"{new}{equals}{value}"
