"""What an interactive user sees: names, versions, short texts and pictures."""

from __future__ import annotations

import base64
import importlib.resources
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import unmask
from unmask.api.learning import Run
from unmask.errors import MissingPackageError
from unmask.infer.picture import label_picture
from unmask.infer.predictor import Prediction
from unmask.metrics import Report
from unmask.recipe import load

VERBS = {"check", "cluster", "convert", "evaluate", "measure", "predict", "pretrain", "train"}
LABELS = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((20, 20), np.uint8))
REPORT = Report.of(
    [{"name": "<a>", "f1@0.5": 0.5, "dice": float("nan")}, {"name": "b", "f1@0.5": 1.0}],
    settings={"notes": ["<doubt>"]},
)


def test_the_package_lists_its_verbs():
    assert set(dir(unmask)) >= VERBS
    assert all(callable(getattr(unmask, verb)) for verb in VERBS)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*|not installed", unmask.__version__)
    assert importlib.resources.files("unmask").joinpath("py.typed").is_file()
    with pytest.raises(AttributeError, match="no_such_verb"):
        _ = unmask.no_such_verb


def test_short_texts():
    scores = np.zeros((2, *LABELS.shape), np.float32)
    assert repr(Prediction(LABELS, scores, None, {})) == (
        "Prediction(40 x 60 uint8: 5 labels, scores of 2 channels)"
    )
    named = Prediction(LABELS, None, None, {}, classes={"cat": 0.75, "dog": 0.25})
    assert repr(named) == "Prediction(40 x 60: cat 0.750)"
    assert repr(REPORT) == "Report(2 images: f1@0.5 0.7500, dice -)"
    assert repr(Run(Path("runs/a"), Path("m"), {"dice": 0.5}, 10, 3.2)) == (
        "Run('runs/a': 10 updates, dice 0.5000, 3 s)"
    )
    recipe = load("semantic2d")
    assert (
        repr(recipe)
        == str(recipe)
        == ("Recipe('semantic2d': semantic, resunet, 256 x 256, 4000 updates)")
    )


def test_a_prediction_is_a_picture():
    found = re.search(r"base64,([^\"]+)", Prediction(LABELS, None, None, {})._repr_html_())
    assert found is not None
    picture = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(found[1]))))
    assert picture.shape == (40, 60, 3)
    assert (picture[LABELS == 0] == 0).all()
    colors = {tuple(picture[number == LABELS][0]) for number in range(6)}
    assert len(colors) == 6


def test_a_picture_of_a_volume_is_its_middle_and_small():
    volume = np.zeros((3, 2000, 900), np.uint32)
    volume[1] = 70_000
    picture = np.asarray(Pillow.open(io.BytesIO(label_picture(volume))))
    assert max(picture.shape) <= 512
    assert picture.any(axis=-1).all()


def test_a_report_is_a_table(capsys):
    html = REPORT._repr_html_()
    assert "<td>0.7500</td>" in html
    assert "&lt;doubt&gt;" in html
    REPORT.show()
    assert capsys.readouterr().out == REPORT.to_text()


def test_a_report_as_a_data_frame(monkeypatch):
    pytest.importorskip("pandas")
    frame = REPORT.to_pandas()
    assert list(frame.columns) == ["name", "f1@0.5", "dice"]
    assert frame["f1@0.5"].mean() == 0.75
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'unmask\[tables\]'"):
        REPORT.to_pandas()
