"""Intervals, equivalents and sentences of label curves, on numbers done by hand."""

import json
import math

import pytest

from unmask.apps.curve_table import (
    Row,
    equivalent,
    interval,
    plot,
    sentences,
    summarize,
    write,
)


def rows(gain=0.1, *, noise=0.001, repeats=3):
    """Scratch rises by 0.1 with every doubling; the other start is ahead by ``gain``."""
    found = []
    for start, more in (("scratch", 0.0), ("spark", gain)):
        for level, labels in enumerate((1, 2, 4, 8)):
            for repeat in range(repeats):
                value = 0.3 + 0.1 * level + more + noise * repeat * (1 if more else 2)
                found.append(Row(start, labels, repeat, {"dice": value, "iou": None}, "r"))
    return found


def test_interval_is_students():
    mean, low, high = interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - mean == pytest.approx(4.302653 / math.sqrt(3))
    assert low == pytest.approx(4 - high)
    assert interval([1.0])[0] == 1
    assert math.isnan(interval([1.0])[1])
    assert math.isnan(interval([])[0])


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.3, 1), (0.35, 2**0.5), (0.6, 8), (0.61, math.inf), (0.29, 0), (0.4, 2)],
)
def test_equivalent_number_of_labels(score, expected):
    scratch = {1: 0.3, 2: 0.4, 4: 0.35, 8: 0.6}  # a fall is taken for chance
    assert equivalent(score, scratch) == pytest.approx(expected)
    assert math.isnan(equivalent(score, {}))
    assert math.isnan(equivalent(math.nan, scratch))


def test_summary_and_sentence():
    points = {(p.start, p.labels): p for p in summarize(rows(), "dice")}
    assert points["scratch", 1].equivalent is None
    assert points["spark", 1].equivalent == pytest.approx(2, rel=0.05)
    assert points["spark", 8].equivalent == math.inf
    assert points["spark", 2].count == 3
    (sentence,) = sentences(rows(), "dice")
    assert sentence.startswith("With 2 labeled images, spark scores like 4 do from scratch")
    assert "beyond the spread of 3 repeats" in sentence
    (noisy,) = sentences(rows(gain=0.001, noise=0.01), "dice")
    assert "within the spread" in noisy
    (single,) = sentences(rows(repeats=1), "dice")
    assert "a single repeat has no spread" in single
    (best,) = sentences(rows(gain=0.9), "dice")
    assert "more than 8 do from scratch" in best
    (worse,) = sentences(rows(gain=-0.3), "dice")
    assert "fewer than the smallest number" in worse


def test_another_network_is_compared_with_its_own_scratch():
    vit = [
        Row(start, labels, repeat, {"dice": value + labels / 100}, "r", "scratch-vit")
        for start, value in (("scratch-vit", 0.1), ("mae", 0.12))
        for labels in (1, 2, 4, 8)
        for repeat in range(3)
    ]
    points = {(p.start, p.labels): p for p in summarize([*rows(), *vit], "dice")}
    assert points["scratch-vit", 2].equivalent is None
    assert points["mae", 2].equivalent == pytest.approx(4)
    assert points["spark", 1].equivalent == pytest.approx(2, rel=0.05)
    spark, mae = sentences([*rows(), *vit], "dice")
    assert spark.startswith("With 2 labeled images, spark scores like 4 do from scratch")
    assert mae.startswith(
        "With 2 labeled images, mae scores like 4 do from scratch (dice 0.140 aga"
    )


def test_undefined_figures_stay_undefined(tmp_path):
    given = rows()
    assert all(point.count == 0 for point in summarize(given, "iou"))
    assert "no defined iou" in sentences(given, "iou")[0]
    write(tmp_path, given, "iou", settings={})
    found = json.loads((tmp_path / "curve.json").read_text())
    assert found["summary"][0]["mean"] is None
    assert found["rows"][0]["metrics"]["iou"] is None


def test_files(tmp_path):
    paths = write(tmp_path, rows(), "dice", settings={"repeats": 3})
    assert [path.name for path in paths] == ["curve.json", "curve.csv", "curve.png", "curve.svg"]
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines[0] == "start,labels,repeat,updates,dice,iou,run"
    assert lines[1] == "scratch,1,0,,0.3,,r"
    assert len(lines) == 1 + 24
    found = json.loads((tmp_path / "curve.json").read_text())
    assert found["settings"] == {"repeats": 3}
    assert found["summary"][-1]["equivalent"] == "more"
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    first, again = (plot(summarize(rows(), "dice"), "dice", form="svg") for _ in range(2))
    assert b"labeled images" in first
    assert first == again
