"""The notebooks run, offline, with few updates on small images; and Jupyter can open them."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
# What the cell with the tag "parameters" is replaced by.
SMALL = {
    "few_labels_nuclei": {"STEPS": 1, "SIZE": 64},
    "organelles_without_labels": {"STEPS": 1, "SIZE": 80, "CLASSES": 2},
    "neurites_from_affinities": {"SHAPE": (4, 48, 48)},
    "medical_volume": {"STEPS": 1, "SHAPE": (8, 32, 32), "WIDTH": 4},
    "results_in_pandas": {"COUNT": 1, "SIZE": 64},
}


def code_of(name: str) -> str:
    """The code cells, with small parameters and without installation."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for parameter, value in SMALL[name].items():
        text, count = re.subn(rf"(?m)^{parameter} = .*$", f"{parameter} = {value}", text)
        assert count == 1
    return text


def test_every_notebook_is_tested():
    assert list(SMALL) == sorted(SMALL, key=list(SMALL).index)
    assert sorted(SMALL) == NAMES


@pytest.mark.parametrize("name", SMALL)
def test_the_notebook_runs(name, tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(code_of(name), name, "exec"), {"__name__": "notebook"})


@pytest.mark.parametrize("name", NAMES)
def test_jupyter_opens_it(name):
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.read(FOLDER / f"{name}.py")
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown"
    assert kinds.count("code") >= 5
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert len(tagged) == 1
    # Colab opens the other form, which has to be the same.
    pair = jupytext.read(FOLDER / f"{name}.ipynb")
    assert [cell.source for cell in pair.cells] == [cell.source for cell in notebook.cells]
