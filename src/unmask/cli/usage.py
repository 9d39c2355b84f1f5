"""Messages about wrong options of a verb: what was expected, what was found and what to do."""

from __future__ import annotations

import difflib
import re
from typing import Any

from unmask.errors import message
from unmask.plain_text import printable

# Below this similarity a suggestion is as good as none.
_SIMILAR = 0.6
# Arguments that no option takes, in the parser's own message, where they are escaped.
_EXTRA = re.compile(r"Got unexpected extra argument\(s\) \((.*)\)$", re.DOTALL)


def explain_usage(error: Any, command: Any, ctx: Any) -> str | None:
    """A message in the form of all others; None for errors that explain themselves.

    Args:
        error: what the parser raised; its classes are private to Typer, so its attributes
            identify it.
        command: the verb.
        ctx: the context of the verb, whose parent knows the other verbs.
    """
    kind = type(error).__name__
    if kind == "NoSuchOption":
        return _explain_unknown(error.option_name, command, ctx)
    if kind == "MissingParameter" and error.param is not None:
        parameter = error.param
        option = parameter.opts[:1] if parameter.param_type_name == "option" else []
        name = " ".join([*option, str(parameter.metavar or "")]).strip()
        what = (parameter.help or "").partition(". ")[0].rstrip(".")
        return message(
            ctx.command_path,
            expected=f"{name} ({what})" if what else name,
            found="none",
            do=f"Give it. {ctx.command_path} --help has examples.",
        )
    if kind == "BadParameter" and error.param is not None:
        return _explain_value(error, ctx)
    if kind == "UsageError" and (extra := _EXTRA.match(error.message)):
        return message(
            ctx.command_path,
            expected="values after options only",
            found=f"{extra[1]} without an option",
            do=f"Write the option before it: {_name_options(command)}.",
        )
    return None


def _explain_value(error: Any, ctx: Any) -> str | None:
    """A value that is not a number, or outside of its range; None for other values."""
    details = getattr(error.__cause__, "errors", None)
    detail = details()[0] if details else {}
    limits = detail.get("ctx") or {}
    kinds = {
        "int_parsing": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "greater_than_equal": f"a number of {limits.get('ge')} or more",
        "less_than_equal": f"a number of {limits.get('le')} or less",
    }
    expected = kinds.get(detail.get("type", ""))
    if expected is None:
        return None
    option = error.param.opts[0]
    return message(
        f"{ctx.command_path} {option}",
        expected=expected,
        found=printable(detail["input"], one_line=True),
        do=f"Change it. {ctx.command_path} --help describes {option}.",
    )


def _explain_unknown(option: str, command: Any, ctx: Any) -> str:
    known = {name for parameter in command.params for name in parameter.opts}
    near = difflib.get_close_matches(option, sorted(known), n=1, cutoff=_SIMILAR)
    verbs = [] if ctx.parent is None else _verbs_with(option, ctx.parent.command)
    shown = printable(option, one_line=True)
    found = f"{shown}, an option of {', '.join(verbs)}" if verbs else shown
    # An option of other verbs is not misspelled.
    advice = f"Did you mean {near[0]}? " if near and not verbs else ""
    return message(
        ctx.command_path,
        expected="an option of this verb",
        found=found,
        do=f"{advice}{ctx.command_path} --help lists its options.",
    )


def _verbs_with(option: str, group: Any) -> list[str]:
    """The verbs that have an option."""
    return [
        name
        for name, command in getattr(group, "commands", {}).items()
        if any(option in parameter.opts for parameter in command.params)
    ]


def _name_options(command: Any) -> str:
    """The options with a path, required ones if there are any."""
    required = [each for each in command.params if each.required]
    paths = required or [each for each in command.params if each.metavar in {"PATH", "FILE"}]
    return ", ".join(f"{each.opts[0]} {each.metavar}" for each in paths)
