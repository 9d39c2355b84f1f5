"""The benchmark of a GPU, in small sizes on the CPU; nothing is written without a GPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PAGE = FOLDER.parent / "docs" / "results" / "speed.md"


@pytest.fixture(scope="module")
def gpu():
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    gpu = importlib.import_module("gpu")

    yield gpu
    sys.path.remove(str(FOLDER))
    for name in {"gpu", "gpu_parts", "gpu_workloads", "harness"} - before:
        del sys.modules[name]


def test_every_part_runs(gpu, tmp_path, capsys):
    assert gpu.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.iterdir())
    shown = capsys.readouterr().out
    for part in gpu.parts(torch.device("cpu"), tiny=True):
        assert f"== {part.name} " in shown


def test_parts_fit_into_the_time_of_a_loan(gpu):
    chosen = gpu.parts(torch.device("cuda"), tiny=False)
    assert sum(part.seconds for part in chosen) <= gpu.BUDGET < 480


def test_a_failed_part_is_a_row_and_the_others_run(gpu, tmp_path):
    def fail():
        raise ValueError("no kernel")

    chosen = [gpu.Part("one", 1, fail), gpu.Part("two", 1, lambda: [{"what": "two", "ours": 1.0}])]
    chosen.append(gpu.Part("long", 99, fail))
    rows, failed = gpu.run_parts(chosen, torch.device("cpu"), tmp_path, budget=50)
    assert failed == ["one"]
    assert rows[0]["note"] == "failed: ValueError: no kernel"
    assert rows[1]["what"] == "two"
    assert "left out" in rows[2]["note"]


def test_the_page_says_that_nothing_was_measured():
    text = PAGE.read_text(encoding="utf-8")
    measured = (PAGE.parent / "gpu.json").is_file()
    assert measured != ("Not run: no GPU yet." in text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_to_do(gpu):
    with pytest.raises(SystemExit, match=r"expected a GPU, found none\..*--tiny"):
        gpu.main([])
