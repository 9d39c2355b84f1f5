"""A plan in words: lines for the terminal, and a recipe with the reasons as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from unmask.planning.decision import Decision
from unmask.planning.plan import Plan

_WIDTH, _TERMINAL = 96, 80


def describe_plan(plan: Plan) -> Iterator[str]:
    """The decisions, then the notes, for a terminal of 80 columns."""
    yield from map(describe_decision, plan.decisions)
    yield from map(describe_note, plan.notes)


def describe_decision(decision: Decision) -> str:
    """A decision with its reason; lines after the first one are indented."""
    return _fill(str(decision), "  ", "      ")


def describe_note(note: str) -> str:
    """A note of a plan."""
    return _fill(f"note: {note}", "", "      ")


def _fill(text: str, first: str, other: str) -> str:
    return textwrap.fill(
        text,
        _TERMINAL,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )


def describe_choice(plan: Plan) -> str:
    """Task, network and updates in one line."""
    recipe = plan.recipe
    task = "" if recipe.task is None else recipe.task.name
    crop = " x ".join(map(str, recipe.data.crop))
    count = plan.facts.labeled
    text = f"{task}, crops of {crop}, {recipe.train.steps:,} updates"
    images = f"{count} labeled image" + "s" * (count > 1)
    if recipe.train.folds:
        return f"{text} for each of {recipe.train.folds} folds and for the final model, {images}"
    return f"{text} on {images}"


def plan_to_yaml(plan: Plan) -> str:
    """The recipe as YAML; above each field that was filled in, the reason as a comment."""
    reasons = {decision.field: decision for decision in plan.decisions}
    lines: list[str] = []
    section = ""
    for line in plan.recipe.to_yaml().splitlines():
        key = line.strip().partition(":")[0]
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            section = key
        name = key if depth == 0 else f"{section}.{key}" if depth == 2 else ""
        if (decision := reasons.get(name)) is not None:
            indent = " " * depth
            lines += textwrap.wrap(
                f"{decision.reason[0].upper()}{decision.reason[1:]}. {decision.doubt}",
                width=_WIDTH,
                initial_indent=f"{indent}# ",
                subsequent_indent=f"{indent}# ",
            )
        lines.append(line)
    return "\n".join(lines) + "\n"
