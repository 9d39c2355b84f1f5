"""Metrics of other people: files and entry points, what they get, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from unmask.api import evaluate
from unmask.errors import RecipeError
from unmask.metrics import evaluate_pair, evaluate_pairs

TRUTH = np.array([[0, 1, 1, 9], [0, 2, 2, 9]])
PREDICTED = np.array([[0, 1, 0, 0], [0, 2, 2, 2]])
SOURCE = """
from unmask.metrics import Metric, f1

def wrong(truth, predicted):
    return (truth != predicted).mean()

def counts(truth, predicted):
    return {"truth": truth.max(), "predicted": predicted.max()}

def volume(truth, predicted, spacing, overlap):
    return spacing[0] * len(overlap.objects.truth_ids)

def share(truth, predicted, threshold=0.5, label=1):
    return threshold + label

loss = Metric(lambda truth, predicted, overlap, spacing: f1(overlap), higher_is_better=False)

def fails(truth, predicted):
    raise KeyError("no such thing")

def word(truth, predicted):
    return "good"

def alone(truth):
    return 1.0

def long(truth, predicted, image):
    return 1.0
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("own.py:wrong", {"own.py:wrong": 0.375}),
        ("own.py:counts", {"own.py:counts/truth": 9.0, "own.py:counts/predicted": 2.0}),
        ("own.py:volume", {"own.py:volume": 12.0}),
        ("own.py:share", {"own.py:share": 1.5}),
        ("own.py:share@0.25/3", {"own.py:share@0.25/3": 3.25}),
        ("own.py:loss", {"own.py:loss": 0.8}),
    ],
)
def test_a_function_of_a_file(here, name, found):
    values = evaluate_pair(TRUTH, PREDICTED, [name], spacing=(4, 1))
    assert values == pytest.approx(found)
    assert evaluate_pairs([(TRUTH, PREDICTED)] * 2, [name], spacing=(4, 1)) == pytest.approx(found)


def test_ignored_voxels_are_background_on_both_sides(here):
    found = evaluate_pair(TRUTH, PREDICTED, ["own.py:counts", "own.py:volume"], spacing=(4, 1),
                          ignore=9)  # fmt: skip
    assert found["own.py:counts/truth"] == 2
    assert found["own.py:volume"] == 8


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own.py:fails", r"found KeyError: 'no such thing' \(.*own.py, line 19\)"),
        ("own.py:word", "expected a number, or a dictionary of numbers, found str 'good'"),
        ("own.py:alone", r"expected a function of \(truth, predicted\).*found \(truth\)"),
        ("own.py:long", r"found \(truth, predicted, image\)"),
        ("own.py:wrong@3", "takes no number after @"),
        ("own.py:nothing", "defines no 'nothing'"),
    ],
)
def test_what_is_refused(here, name, words):
    with pytest.raises(RecipeError, match=words):
        evaluate_pair(TRUTH, PREDICTED, [name], spacing=(4, 1))


def test_evaluate_names_the_images(here):
    np.save(here / "a.npy", PREDICTED)
    with pytest.raises(RecipeError, match=r"a.npy and .*a.npy: metric='own.py:fails'"):
        evaluate(truth="a.npy", predicted="a.npy", metrics=["own.py:fails"])
    report = evaluate(truth="a.npy", predicted="a.npy", metrics=["own.py:counts", "dice"])
    assert report.summary["own.py:counts/truth"]["mean"] == 2


def test_an_installed_metric(here, monkeypatch):
    info = here / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[unmask.metrics]\nwrongness = own:wrong\n")
    monkeypatch.syspath_prepend(here)
    assert evaluate_pair(TRUTH, PREDICTED, ["wrongness"]) == {"wrongness": 0.375}
    with pytest.raises(RecipeError, match="Did you mean 'dice'"):
        evaluate_pair(TRUTH, PREDICTED, ["dicee"])
