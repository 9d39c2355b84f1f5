"""All folds in one report: their mean and how sure it is."""

import json
import math

import pytest

from unmask.errors import DataError
from unmask.metrics import Report
from unmask.metrics.folds import interval, join_folds, read_report


def fold(first, *values, metric="dice"):
    return Report.of([{"name": f"{first}{i}", metric: value} for i, value in enumerate(values)])


def test_folds_count_alike_whatever_their_size():
    joined = join_folds({"0": fold("a", 0.8, 1.0), "1": fold("b", 0.6), "2": fold("c", 0.9)})
    assert [row["dice"] for row in joined.images] == pytest.approx([0.9, 0.6, 0.9])
    entry = joined.summary["dice"]
    assert entry["mean"] == pytest.approx(0.8)
    # Student's t for two degrees of freedom: 4.303 standard errors of 0.1.
    assert entry["low"] == pytest.approx(0.8 - 0.4303, abs=1e-4)
    assert entry["high"] == pytest.approx(0.8 + 0.4303, abs=1e-4)
    assert joined.settings == {"images": {"0": 2, "1": 1, "2": 1}}
    lines = joined.to_text().splitlines()
    assert lines[0].split() == ["metric", "mean", "median", "n", "undefined", "low", "high"]
    assert lines[1].split()[0] == "dice"
    assert "<th>low</th>" in joined.to_html()


def test_a_fold_without_the_class_is_undefined_and_told():
    joined = join_folds({"0": fold("a", 0.8), "1": fold("b", math.nan), "2": fold("c", 0.6)})
    assert joined.summary["dice"]["mean"] == pytest.approx(0.7)
    assert joined.summary["dice"]["undefined"] == 1
    assert math.isnan(join_folds({"0": fold("a", 0.8)}).summary["dice"]["low"])


def test_reports_come_back_from_files(tmp_path):
    report = fold("a", 0.8, math.nan)
    report.write(tmp_path / "a.json")
    found = read_report(tmp_path / "a.json")
    assert found.summary["dice"]["mean"] == pytest.approx(0.8)
    assert join_folds({"a": found}).images[0]["dice"] == pytest.approx(0.8)


@pytest.mark.parametrize("text", ["[1]", "{}", "no json", json.dumps({"images": []})])
def test_something_else_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match=r"r\.json: expected a report"):
        read_report(tmp_path / "r.json")
    with pytest.raises(DataError, match="expected a report"):
        read_report(tmp_path / "none.json")


def test_folds_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="a0 in 0 and 1"):
        join_folds({"0": fold("a", 0.8), "1": fold("a", 0.7)})
    with pytest.raises(DataError, match="found dice, iou in some"):
        join_folds({"0": fold("a", 0.8), "1": fold("b", 0.7, metric="iou")})
    with pytest.raises(DataError, match="found none"):
        join_folds({})


def test_interval_of_too_few():
    assert interval([1.0])[0] == 1
    assert all(math.isnan(value) for value in interval([]))
