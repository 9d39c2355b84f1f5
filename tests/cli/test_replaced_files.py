"""No command replaces a file of somebody else, and own results only if that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

CONTENT = b"my notes, which exist once\n"


@pytest.fixture
def requests(phantoms, trained, tmp_path, tiny):
    """By verb: arguments, ending of the file, and whether it is replaced (None: if asked)."""
    images, labels = phantoms[2] / "images", phantoms[2] / "labels"
    pair = (images, "--labels", labels)
    report = ("evaluate", "--truth", labels, "--predicted", labels)
    return {
        "evaluate json": (report, ".json", True),
        "evaluate csv": (report, ".csv", True),
        "evaluate html": (report, ".html", True),
        "measure csv": (("measure", "--labels", labels), ".csv", False),
        "measure parquet": (("measure", "--labels", labels), ".parquet", False),
        "check": (("check", *pair, "--preset", "cells", *tiny(2)), ".txt", True),
        "plot png": (("plot", trained[2]), ".png", True),
        "plot svg": (("plot", trained[2]), ".svg", True),
        "select": (("select", images, "--count", 1), ".txt", False),
        "plan": (("plan", *pair), ".yaml", False),
        "convert": (("convert", tmp_path / "w.pth", "--source", "mae"), ".safetensors", None),
        "tune": (("tune", trained[2], *pair), ".safetensors", False),
    }


NAMES = ("evaluate json", "evaluate csv", "evaluate html", "measure csv", "measure parquet",
         "check", "plot png", "plot svg", "select", "plan", "convert", "tune")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_files_of_others_stay(name, requests, command, tmp_path):
    if "parquet" in name:
        pytest.importorskip("pyarrow")
    words, ending, replaced = requests[name]
    out: Path = tmp_path / f"result{ending}"
    out.write_bytes(CONTENT)
    answer = command(*words, "--out", out)
    assert answer.code == 2, answer.out
    assert str(out) in answer.err
    assert out.read_bytes() == CONTENT
    if replaced is None:
        assert "--overwrite" in answer.err
        return
    if name == "tune":
        # Two images would have to be tuned, which takes long.
        return
    out.unlink()
    assert command(*words, "--out", out).code == 0
    assert command(*words, "--out", out).code == (0 if replaced else 2)


def test_an_empty_file_may_be_filled(requests, command, tmp_path):
    words, _, _ = requests["evaluate json"]
    (tmp_path / "r.json").touch()
    assert command(*words, "--out", tmp_path / "r.json").code == 0


def test_measure_replaces_its_own_results_if_asked(phantoms, command, tmp_path):
    """A table, and the outlines next to it; files of others stay in any case."""
    out, outlines = tmp_path / "objects.csv", tmp_path / "objects_rois"
    words = ("measure", "--labels", phantoms[2] / "labels", "--out", out, "--rois", "geojson")
    assert command(*words).code == 0
    content = out.read_bytes()
    assert command(*words, "--overwrite").code == 0
    assert out.read_bytes() == content
    refused = command(*words)
    assert refused.code == 2
    assert f"{out}: expected a file that does not exist, found a file." in refused.err
    assert "or give --overwrite to replace it." in refused.err
    out.unlink()
    refused = command(*words)
    assert refused.code == 2
    assert f"{outlines}: expected" in refused.err
    out.write_bytes(CONTENT)
    assert command(*words, "--overwrite").code == 2
    assert out.read_bytes() == CONTENT


def test_predict_keeps_an_earlier_table_of_other_images(phantoms, trained, command, tmp_path):
    """The labels of two images lie next to each other; what is about all of them does not."""
    first, second = sorted((phantoms[2] / "images").iterdir())[:2]
    words = ("--model", trained[2], "--out", tmp_path / "out", "--table")
    table = tmp_path / "out" / "objects.csv"
    assert command("predict", first, *words).code == 0
    content = table.read_bytes()
    refused = command("predict", second, *words)
    assert refused.code == 2
    assert f"found 1 of 2 outputs, such as {table}. Give --overwrite" in refused.err
    assert table.read_bytes() == content
    assert command("predict", second, *words, "--overwrite").code == 0
    assert table.read_bytes() != content
