"""Options of parts meet the annotations of their constructors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from unmask.errors import RecipeError
from unmask.lookup import Choice, build


@dataclass(frozen=True)
class Thing:
    p: float = 0.5
    size: int = 3
    name: str = ""
    flag: bool = False
    sizes: Sequence[int] | int = 1
    mode: Literal["16", "32"] = "32"
    names: Sequence[str] = ()


TABLE = {"thing": Thing}


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("p", "1e-3", 1e-3),
        ("p", 1, 1.0),
        ("size", "3", 3),
        ("size", 3.0, 3),
        ("name", 32, "32"),
        ("name", True, "true"),
        ("flag", "no", False),
        ("flag", "on", True),
        ("flag", 0, False),
        ("sizes", [1, 2], [1, 2]),
        ("mode", 16, "16"),
        ("names", [0, "a", True], ["0", "a", "true"]),
    ],
)
def test_values_that_are_understood(option, value, expected):
    found = getattr(build(Choice("thing", {option: value}), TABLE, "kind"), option)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("p", "soon"),
        ("p", [1]),
        ("p", None),
        ("size", 1.5),
        ("size", {}),
        ("name", []),
        ("flag", "perhaps"),
        ("flag", 7),
        ("sizes", ["a"]),
        ("sizes", "12x"),
        ("mode", 8),
        ("names", [[1]]),
        ("names", "ab"),
    ],
)
def test_values_that_are_not(option, value):
    with pytest.raises(RecipeError, match=rf"kind 'thing': option {option}"):
        build(Choice("thing", {option: value}), TABLE, "kind")


def test_all_wrong_options_come_at_once():
    with pytest.raises(RecipeError) as caught:
        build(Choice("thing", {"p": "x", "size": "y"}), TABLE, "kind")
    assert "option p" in str(caught.value)
    assert "option size" in str(caught.value)


def test_annotations_that_cannot_be_evaluated_are_not_checked():
    def part(size: NoSuchType = 1):  # pyright: ignore[reportUndefinedVariable]
        return size

    assert build(Choice("part", {"size": "x"}), {"part": part}, "kind") == "x"


def test_words_for_truth_do_not_become_true_by_being_text(command, tmp_path):
    from unmask.recipe import load

    chosen = load("classify2d").with_settings(["task.classes=[no, yes]"])
    from unmask.build import build_task

    assert build_task(chosen).image_classes == ("no", "yes")
