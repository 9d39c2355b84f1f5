"""Tables of classes: what is read, what is refused, labels that take no memory."""

import numpy as np
import pytest

from unmask.data.pairs import Layout, audit_pairs, open_pairs
from unmask.data.tables import read_table
from unmask.errors import DataError
from unmask.io import save_image
from unmask.space.box import Box

LAYOUT = Layout(2, classes=("cat", "dog"))


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        save_image(tmp_path / "images" / f"{name}.tif", np.ones((5, 6), np.uint8))
    return tmp_path


def table(folder, text, name="classes.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_images_get_the_classes_of_their_lines(folder):
    path = table(folder, "class,name,age\ndog,a.tif,3\ncat,b,4\ndog,sub/c.tif,1\ncat,z,9\n")
    audit = audit_pairs(folder / "images", path, LAYOUT, read=True)
    assert not audit.problems
    assert any("1 line is of images that are not given" in note for note in audit.notes)
    labels = [pair.labels for pair in audit.pairs]
    assert [int(each.read().flat[0]) for each in labels if each] == [2, 1, 2]
    first = labels[0]
    assert first is not None
    assert first.shape == (1, 5, 6)
    assert first.read(Box((1, 1), (3, 5))).shape == (1, 2, 4)
    assert first.read().strides == (0, 0, 0)
    assert first.source == str(path)


def test_several_tables_may_agree(folder):
    one = table(folder, "name,class\na,cat\nb,dog\n")
    two = table(folder, "name,class\nb,dog\nc,dog\n", "more.csv")
    assert len(open_pairs(folder / "images", [one, two, one], LAYOUT)) == 3


def test_every_problem_at_once(folder):
    path = table(folder, "name,class\na,dgo\nb,cat\n")
    with pytest.raises(DataError) as error:
        open_pairs(folder / "images", path, LAYOUT)
    text = str(error.value)
    assert "2 problems" in text
    assert "'a': expected one of the classes cat, dog, found 'dgo'. Did you mean 'dog'?" in text
    assert "c.tif: expected a line named 'c'" in text


def test_contradictions(folder):
    one = table(folder, "name,class\na,cat\nb,dog\nc,dog\n")
    two = table(folder, "name,class\nb,cat\n", "more.csv")
    with pytest.raises(DataError, match=r"more\.csv, 'b': expected the class that .*'dog'"):
        open_pairs(folder / "images", [one, two], LAYOUT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line"),
        ("name,kind\na,cat\n", "columns name, kind"),
        ("name,class\na,cat\na,dog\n", "several of a"),
    ],
)
def test_tables_of_another_form(folder, text, message):
    with pytest.raises(DataError, match=message):
        read_table(table(folder, text))


def test_no_table(folder):
    with pytest.raises(DataError, match="expected a table"):
        read_table(folder / "none.csv")
    with pytest.raises(DataError, match="expected a table"):
        open_pairs(folder / "images", folder / "images", LAYOUT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name;class\na;cat\n", r"separated by commas, found semicolons \('name;class'\)"),
        ("name\tclass\na\tcat\n", "separated by commas, found tabs"),
        ("name,class\na,cat\nb\n", "1 line without one of them, such as that of 'b'"),
        ("name,class\na,cat\nb,\n", "a name and a class in every line"),
    ],
)
def test_mistakes_in_a_table_are_the_only_problem(folder, text, message):
    with pytest.raises(DataError, match=message) as error:
        open_pairs(folder / "images", table(folder, text), LAYOUT)
    assert "expected a line" not in str(error.value)


def test_a_folder_of_label_images_is_no_table(folder):
    with pytest.raises(DataError, match=r"found a folder.*choose another preset") as error:
        open_pairs(folder / "images", folder / "images", LAYOUT)
    assert "expected a line" not in str(error.value)


def test_a_table_of_other_images(folder):
    path = table(folder, "name,class\nx,cat\ny,dog\n")
    with pytest.raises(DataError) as error:
        open_pairs(folder / "images", path, LAYOUT)
    assert "lines with the names of the 3 images, a, b, c, found x, y, so that" in str(error.value)


@pytest.mark.parametrize(
    ("classes", "lines"),
    [
        (
            ("0", "1"),
            "one of the classes 0, 1, found 'cat', 'dog' in 3 lines. Give all classes: --set "
            '\'task.classes=["cat", "dog"]\'.',
        ),
        (
            ("dog", "cats"),
            "one of the classes dog, cats, found 'cat' in 2 lines. Did you mean 'cats'? Correct "
            'the table, or give all classes: --set \'task.classes=["dog", "cats", "cat"]\'.',
        ),
    ],
)
def test_unknown_classes_are_one_problem_of_their_table(folder, classes, lines):
    path = table(folder, "name,class\na,cat\nb,dog\nc,cat\n")
    audit = audit_pairs(folder / "images", path, Layout(2, classes=classes), read=True)
    assert audit.problems == [f"{path}: expected {lines}"]
    assert not any("no object" in note for note in audit.notes)
    assert [pair.name for pair in audit.pairs] == ["a", "b", "c"]


def test_many_unknown_classes_are_not_all_named(folder):
    names = [f"n{number:02}" for number in range(30)]
    path = table(folder, "name,class\n" + "".join(f"{name},{name}\n" for name in names))
    (problem,) = audit_pairs(folder / "images", path, LAYOUT, read=True).problems[:1]
    assert "'n19' and 10 more in 30 lines. List all classes in a recipe" in problem
    assert "n20" not in problem


def test_an_unknown_class_contradicts_no_other(folder):
    one, two = table(folder, "name,class\na,dgo\n"), table(folder, "name,class\na,cat\n", "b.csv")
    problems = audit_pairs(folder / "images", [one, two], LAYOUT).problems
    assert not any("expected the class that" in problem for problem in problems)
