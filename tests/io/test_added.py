"""File formats of other people: from a file on request, from an entry point without any option."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from unmask.api import evaluate
from unmask.data.pairing import pairing
from unmask.errors import DataError, RecipeError
from unmask.io import added, list_files, open_image, open_labels, save_image, stem, use_formats
from unmask.io.writing import output_name

SOURCE = """
import numpy as np
from unmask.io import Format, Stored

def open_text(location, *, level=0, labels=False):
    array = np.loadtxt(location.path, np.uint16, ndmin=2)
    return Stored(array.shape, array.dtype, "YX", lambda index: array[index].copy())

def save_text(location, content):
    np.savetxt(location.path, content.array, "%d")

TEXT = Format("text", open_text, save_text, family=".Grid", suffixes=(".Grid",))
READ_ONLY = Format("text", open_text, suffixes=(".seen",))

def made():
    return READ_ONLY

NO_SUFFIX = Format("text", open_text)
NUMBER = 3
"""
ARRAY = np.arange(12, dtype=np.uint16).reshape(3, 4)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(added, "ADDED", {})
    # Another test may have imported a module of this name from its own folder.
    monkeypatch.delitem(sys.modules, "text_format", raising=False)
    (tmp_path / "text_format.py").write_text(SOURCE)
    added.installed_formats.cache_clear()
    yield tmp_path
    added.installed_formats.cache_clear()


def test_a_format_of_a_file(here):
    np.savetxt("a.grid", ARRAY, "%d")
    with pytest.raises(DataError, match=r"--set data.formats=path/to/file.py:Name"):
        open_image("a.grid")
    use_formats(["text_format.py:TEXT"])
    image = open_image("a.grid")
    assert (image.read()[0] == ARRAY).all()
    assert (image.name, stem("x/b.GRID"), list_files(".")) == ("a", "b", ["a.grid"])
    save_image(here / "b.grid", ARRAY + 1)
    assert (open_labels("b.grid").read()[0] == ARRAY + 1).all()
    assert output_name(image, "out").name == "a.Grid"
    # A worker in another folder opens the image by this name.
    assert image.meta["format"] == f"{here / 'text_format.py'}:TEXT"


def test_evaluation_takes_formats(here):
    assert pairing(["data.formats=text_format.py:TEXT"]).image_suffix == ""
    save_image("a.grid", ARRAY)
    report = evaluate(truth="a.grid", predicted="a.grid", metrics=["accuracy"],
                      settings=["data.formats=[text_format.py:TEXT]"])  # fmt: skip
    assert report.summary["accuracy"]["mean"] == 1


def test_a_format_that_is_only_read(here):
    use_formats(["text_format.py:made"])
    np.savetxt("a.seen", ARRAY, "%d")
    assert output_name(open_image("a.seen"), "out").name == "a.tif"
    with pytest.raises(DataError, match="text, which is only read"):
        save_image("b.seen", ARRAY)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text_format.py:NO_SUFFIX", r"expected suffixes of its files.*found \(\)"),
        ("text_format.py:NUMBER", "expected a Format of unmask.io.contract, found int"),
        ("text_format.py:NOTHING", "defines no 'NOTHING'"),
        ("nothing", "expected path/to/file.py:Name, or the name of an installed part"),
    ],
)
def test_what_is_refused(here, name, words):
    with pytest.raises(RecipeError, match=words):
        use_formats([name])


def install(folder, entry_points: str) -> None:
    info = folder / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[unmask.formats]\n{entry_points}\n")


def test_an_installed_format_needs_no_option(here, monkeypatch):
    install(here, "anything = text_format:TEXT")
    monkeypatch.syspath_prepend(here)
    np.savetxt("a.grid", ARRAY, "%d")
    assert list_files(".") == ["a.grid"]
    image = open_image("a.grid")
    assert image.name == "a"
    assert (image.read()[0] == ARRAY).all()


def test_a_broken_distribution_is_a_warning(here, monkeypatch):
    install(here, "anything = no_such_module:TEXT")
    monkeypatch.syspath_prepend(here)
    np.savetxt("a.grid", ARRAY, "%d")
    with (
        pytest.warns(UserWarning, match="'anything' of others cannot be imported"),
        pytest.raises(DataError, match=r"found the suffix '\.grid'"),
    ):
        open_image("a.grid")
