"""YAML as recipes and lists of names use it: no aliases, bounded depth, the scalars of YAML 1.2.

PyYAML reads scalars as in YAML 1.1, where ``no`` is False, ``1e-3`` is text, ``1:30`` is 90 and
``010`` is 8. All are surprising in ``--set``, so here the rules are those of YAML 1.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from unmask.errors import RecipeError, message

# A recipe has about 6 levels; parts inside the options of parts may add some.
MAX_DEPTH = 32
# Characters of a mistake in a message.
_LONGEST = 120
_TAG = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_TAG}null", f"{_TAG}merge"
# What stands unquoted for something else than text, and the characters that it begins with.
_SCALARS = {
    f"{_TAG}bool": (re.compile(r"(true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    f"{_TAG}int": (
        re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)$"),
        "-+0123456789",
    ),
    f"{_TAG}float": (
        re.compile(
            r"([-+]?((\.[0-9][0-9_]*|[0-9][0-9_]*\.[0-9_]*)([eE][-+]?[0-9]+)?"
            r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
}


class _Bounded(yaml.SafeLoader):
    """Refuses anchors, which grow without bound when they are expanded, and deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("anchors and aliases are not allowed here")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(_Bounded):
    """Values."""


class _Texts(_Bounded):
    """Every scalar as the text that stands there."""


class _Dumper(yaml.SafeDumper):
    """Writes what ``_Loader`` reads back to the same values."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quote a text with line breaks of YAML 1.1, which are lost in other styles."""
        breaks = any(mark in text for mark in "\x85\u2028\u2029")
        return self.represent_scalar(f"{_TAG}str", text, style='"' if breaks else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def _resolvers() -> dict[str | None, list[Any]]:
    found: dict[str | None, list[Any]] = {
        first: [pair for pair in pairs if pair[0] in {_NULL, _MERGE}]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for tag, (pattern, firsts) in _SCALARS.items():
        for first in firsts:
            found.setdefault(first, []).append((tag, pattern))
    return found


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    # A leading zero means nothing, as in YAML 1.2; in 1.1 it made the number octal.
    return int(text, 0 if text.lstrip("-+")[1:2] in {"b", "o", "x"} else 10)


_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.yaml_implicit_resolvers = _resolvers()
_Texts.yaml_implicit_resolvers = {}


def read_yaml(text: str, label: str) -> Any:
    """The values of a YAML text.

    Args:
        text: the YAML.
        label: what it is called in messages.

    Raises:
        RecipeError: not YAML, aliases, too deep, or numbers too long to be read.

    Examples:
        >>> read_yaml("{lr: 1e-3, name: no}", "example")
        {'lr': 0.001, 'name': 'no'}
    """
    return _load(text, label, _Loader)


def key_lines(text: str, label: str) -> list[tuple[str, int]]:
    r"""The keys of a mapping with their lines, starting at 1; repeated keys are repeated.

    Raises:
        RecipeError: as `read_yaml`.

    Examples:
        >>> key_lines("a: 1\nb: 2", "example")
        [('a', 1), ('b', 2)]
    """
    try:
        node = yaml.compose(text, Loader=_Texts)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise RecipeError(_explain(error, text, label)) from error
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return [(str(key.value), key.start_mark.line + 1) for key, _ in pairs]


def read_texts(text: str, label: str) -> Any:
    """The same tree with every scalar as it is written, for fields that hold text."""
    return _load(text, label, _Texts)


def write_yaml(tree: Any) -> str:
    """YAML text that ``read_yaml`` reads back to an equal tree."""
    # Other programs read it as YAML 1.1: text that means something else in either is quoted.
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *_Loader.yaml_implicit_resolvers.get(first, []),
    ]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}


def tree_problems(tree: object) -> list[str]:
    """What is wrong with a tree of values before it is validated: its depth, or its numbers."""
    problems: list[str] = []
    for position, value in leaves(tree):
        if len(position) > MAX_DEPTH:
            return [f"{position[0]}: nested more than {MAX_DEPTH} levels deep. Make it flat."]
        if isinstance(value, float) and not math.isfinite(value):
            where = ".".join(position)
            problems.append(f"{where}: expected a finite number, found {value}. Change it.")
    return problems


def leaves(tree: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """Positions and values of a tree; branches that are too deep come back whole."""
    # Not recursive: a tree from elsewhere may be deeper than Python's stack.
    waiting: list[tuple[tuple[str, ...], object]] = [((), tree)]
    while waiting:
        position, node = waiting.pop()
        if len(position) > MAX_DEPTH or not isinstance(node, Mapping | list | tuple):
            yield position, node
        elif isinstance(node, Mapping):
            waiting += [((*position, str(key)), item) for key, item in node.items()]
        else:
            waiting += [((*position, str(index)), item) for index, item in enumerate(node)]


def _load(text: str, label: str, loader: type[yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        raise RecipeError(_explain(error, text, label)) from error


def _explain(error: Exception, text: str, label: str) -> str:
    """The message on a text that is not YAML: its line and the mistake, not what it holds."""
    mark = getattr(error, "problem_mark", None)
    line, problem = None, " ".join(str(error).split())[:_LONGEST]
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        problem = error.problem
    elif isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        problem = f"the character U+{code:04X}"
    elif isinstance(error, RecursionError):
        problem = "too many levels"
    if mark is not None:
        line = mark.line
    many = line is not None and "\n" in text.rstrip("\n")
    return message(
        f"{label}, line {line + 1}" if line is not None and many else label,
        expected="YAML",
        found=f"a mistake ({problem})",
        do="Correct it.",
    )
