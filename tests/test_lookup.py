from dataclasses import dataclass

import pytest

from unmask.errors import MissingPackageError, RecipeError
from unmask.lookup import Choice, build, optional_import


@dataclass(frozen=True)
class Thing:
    size: int
    ndim: int = 2


TABLE = {"thing": Thing}


def test_options_and_given_arguments_meet():
    assert build(Choice("thing", {"size": 3}), TABLE, "kind", ndim=3, other=1) == Thing(3, 3)


def test_options_win_over_given_arguments():
    assert build(Choice("thing", {"size": 3, "ndim": 5}), TABLE, "kind", ndim=3).ndim == 5


def test_names_come_from_files_too(tmp_path):
    file = tmp_path / "ridges.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Ridges:\n    a: int = 1\n"
    )
    assert build(Choice(f"{file}:Ridges", {"a": 4}), TABLE, "task").a == 4


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice("thinq"), "Did you mean 'thing'"),
        (Choice("thing", {"sise": 1}), "Did you mean 'size'"),
        (Choice("thing"), "size"),
        (Choice("nowhere.py:Name"), "there is no file"),
    ],
)
def test_mistakes_are_explained(choice, words):
    with pytest.raises(RecipeError) as error:
        build(choice, TABLE, "kind")
    assert words in str(error.value)


def test_a_file_without_the_name(tmp_path):
    file = tmp_path / "empty.py"
    file.write_text("")
    with pytest.raises(RecipeError, match="defines no 'Ridges'"):
        build(Choice(f"{file}:Ridges"), TABLE, "task")


def test_a_missing_package_names_its_extra():
    with pytest.raises(MissingPackageError, match=r"pip install 'unmask\[scale\]'"):
        optional_import("no_such_package_here", "scale")
