"""The report in its four forms."""

import csv
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.metrics import Picture, Report, summarize

NAN = float("nan")
ROWS = [
    {"name": "a", "dice": 0.5, "voi": NAN, "dic": -1},
    {"name": "b <&>", "dice": 1.0, "voi": 0.25, "dic": 3},
    {"name": "c,d", "dice": 0.9, "voi": float("inf"), "dic": 0},
]


def test_summary_counts_what_is_undefined():
    summary = summarize([*ROWS, {"name": "e", "error": "no prediction"}])
    assert set(summary) == {"dice", "voi", "dic"}
    assert summary["dice"] == {"mean": pytest.approx(0.8), "median": 0.9, "n": 3, "undefined": 1}
    assert summary["voi"] == {"mean": 0.25, "median": 0.25, "n": 1, "undefined": 3}
    nothing = summarize([{"name": "a", "voi": NAN}])["voi"]
    assert np.isnan(nothing["mean"])
    assert np.isnan(nothing["median"])
    assert (nothing["n"], nothing["undefined"]) == (0, 1)
    assert summarize([]) == {}


def test_json_is_strict_and_complete():
    settings = {"metrics": ("dice", "voi"), "threshold": np.float32(0.5), "limit": NAN, "on": True}
    report = Report.of(ROWS, settings=settings)
    found = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert list(found) == ["images", "summary", "settings", "version"]
    assert found["images"][0] == {"name": "a", "dice": 0.5, "voi": None, "dic": -1}
    assert found["images"][2]["voi"] is None
    assert found["summary"]["voi"] == {"mean": 0.25, "median": 0.25, "n": 1, "undefined": 2}
    assert found["settings"] == {
        "metrics": ["dice", "voi"],
        "threshold": 0.5,
        "limit": None,
        "on": True,
    }
    assert found["version"]


def test_csv_holds_the_images():
    lines = list(csv.DictReader(io.StringIO(Report.of(ROWS).to_csv())))
    assert [line["name"] for line in lines] == ["a", "b <&>", "c,d"]
    assert [line["voi"] for line in lines] == ["", "0.25", ""]
    assert [float(line["dice"]) for line in lines] == [0.5, 1.0, 0.9]


def test_text_lines_up():
    lines = Report.of(ROWS).to_text().splitlines()
    assert lines[0].split() == ["metric", "mean", "median", "n", "undefined"]
    assert lines[1].split() == ["dice", "0.8000", "0.9000", "3", "0"]
    assert len({len(line) for line in lines}) == 1
    numbers = Report.of([{"name": "a", "voi": 1.0, "hd95": 2.0, "f1@0.5": 0.5, "x.py:f": 9}])
    assert numbers.describe_numbers() == (
        "Values: voi in bits, hd95 in the unit of the voxel size (voxels without it), others "
        "from 0 to 1. n: images with a value; undefined: those without one."
    )
    assert Report.of([{"name": "a", "voi": NAN}]).to_text().split()[-4:] == ["-", "-", "0", "1"]


class Reader(HTMLParser):
    void = ("meta", "img")

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_needs_nothing_else_and_escapes_names():
    pictures = [Picture(b"\x89PNG", 'truth "left" & right')]
    page = Report.of(ROWS, settings={"path": "<x>"}).to_html(
        pictures=pictures, title="Cells & more"
    )
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.sources == ["data:image/png;base64,iVBORw=="]
    text = "".join(reader.text)
    for words in ("Cells & more", "b <&>", 'truth "left" & right', "0.8000", '"path": "<x>"'):
        assert words in text
    assert "Pictures" not in Report.of(ROWS).to_html()


@pytest.mark.parametrize("suffix", [".json", ".csv", ".html", ".txt", ".JSON"])
def test_written_by_suffix(tmp_path, suffix):
    report = Report.of(ROWS)
    path = tmp_path / "new" / f"report{suffix}"
    report.write(path)
    expected = getattr(report, {".txt": "to_text"}.get(suffix, f"to_{suffix[1:].lower()}"))()
    assert path.read_text(encoding="utf-8") == expected
    assert list(path.parent.iterdir()) == [path]


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"report.xlsx: expected a report ending in .json"):
        Report.of(ROWS).write(tmp_path / "report.xlsx")
    assert not list(tmp_path.iterdir())
