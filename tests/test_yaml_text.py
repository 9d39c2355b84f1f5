"""YAML of recipes: YAML 1.2 scalars, bounded, written so that it comes back."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from unmask.errors import RecipeError
from unmask.yaml_text import MAX_DEPTH, key_lines, read_texts, read_yaml, tree_problems, write_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
WORDS = st.sampled_from(
    ["no", "yes", "on", "off", "y", "1e-3", "1:30", "010", "0o7", "2024-01-01", "~", "null", "=",
     "<<", ".5", "1_000", "0x1f", "-.inf", ".nan", "true", "", " a", "!!str x", "a: b", "- a"]
)  # fmt: skip
TREES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | WORDS, inner),
    max_leaves=8,
)


@given(TREES)
def test_what_is_written_comes_back(tree):
    assert read_yaml(write_yaml(tree), "a test") == tree


@given(TREES)
def test_other_readers_read_the_same_text(tree):
    assert yaml.safe_load(write_yaml(tree)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2.5e-3", -0.0025),
        (".5", 0.5),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("null", None),
        ("~", None),
        ("'32'", "32"),
    ],
)
def test_scalars(text, value):
    found = read_yaml(text, "a test")
    assert found == value
    assert type(found) is type(value)


def test_texts_are_as_written():
    assert read_texts("{a: 1e-3, b: [no, 010, '32']}", "a test") == {
        "a": "1e-3",
        "b": ["no", "010", "32"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1]\nb: *x",
        "&a [*a]",
        "[" * 3000,
        "{a: " * 3000,
        "- " * 3000 + "a",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "a: [",
        "9" * 10_000,
        "!!python/object/apply:os.system [ls]",
        "? [a]\n: b\n? {c: d}\n: e",
        "\x00",
        "!!timestamp 2001-99-99",
        "!!float x",
        "!!int x",
        "a: b: c",
    ],
    ids=range(15),
)
def test_texts_that_are_refused(text):
    with pytest.raises(RecipeError, match="a test"):
        read_yaml(text, "a test")


def test_anchors_cannot_grow():
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(RecipeError, match="aliases"):
        read_yaml("\n".join(lines), "a test")


def test_problems_of_trees():
    assert tree_problems({"a": {"b": [1, 2.5, None]}}) == []
    assert "a.b.1: expected a finite number" in tree_problems({"a": {"b": [1, float("nan")]}})[0]
    deep: object = 1
    for _ in range(100_000):
        deep = {"a": deep}
    assert "levels deep" in tree_problems(deep)[0]


def test_a_mistake_is_named_by_its_line_and_not_by_the_content():
    with pytest.raises(RecipeError) as error:
        read_yaml("name: a\nkey: [SECRET\nother: 1\n", "a.yaml")
    text = str(error.value)
    assert text.startswith("a.yaml, line 3: expected YAML, found a mistake (expected ',' or ']'")
    assert "SECRET" not in text
    assert "\n" not in text
    with pytest.raises(RecipeError, match=r"^--set a: expected YAML, found a mistake \("):
        read_yaml("[", "--set a")


def test_keys_with_their_lines():
    assert key_lines("# a\na: 1\n\nb: {c: 2}\na: 3\n", "t") == [("a", 2), ("b", 4), ("a", 5)]
    assert key_lines("- a", "t") == []
    with pytest.raises(RecipeError, match="line 2"):
        key_lines("a: 1\n]", "t")
