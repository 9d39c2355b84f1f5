"""The results pages: tables are renewed, text is kept, losses of speed are reported."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("benchmarks_run", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(ratio, **more):
    row = {"what": "flows | 1024", "ours": 0.05, "peer": 1.0, "ratio": ratio, "unit": "s", **more}
    return {"machine": "2 cores", "date": "2026-01-02", "rows": [row]}


def test_tables_are_renewed_and_text_around_them_stays(run):
    page = (
        "# Results\n\nBefore.\n\n<!-- results:flows -->\nold\n<!-- /results:flows -->\n\nAfter.\n"
    )
    once = run.rebuilt(page, {"flows": result(20.0)})
    assert once.startswith("# Results\n\nBefore.\n")
    assert once.endswith("\n\nAfter.\n")
    assert "old" not in once
    assert "| flows \\| 1024 | 0.05 | 1 | 20 | s |" in once
    assert "floor" not in once
    assert "*2 cores; 2026-01-02*" in once
    assert run.rebuilt(once, {"flows": result(20.0)}) == once


def test_a_new_result_gets_a_section(run):
    page = run.rebuilt("# Results\n", {"tiling": result(None)})
    assert "## tiling\n\n<!-- results:tiling -->\n| what |" in page
    assert run.rebuilt(page, {"tiling": result(None)}) == page


def test_damaged_markers_are_refused(run):
    with pytest.raises(SystemExit, match="one pair of markers"):
        run.rebuilt("<!-- results:flows -->\n", {"flows": result(1.0)})


def test_only_a_real_loss_of_speed_is_reported(run):
    assert run.fallen(result(20.0), result(18.0)) == []
    assert run.fallen(None, result(1.0)) == []
    assert run.fallen(result(None), result(1.0)) == []
    assert run.fallen(result(20.0), result(10.0)) == ["flows | 1024: ratio 20 before, 10 now"]


def test_a_benchmark_runs_alone_with_one_thread(run, tmp_path, capfd):
    script = tmp_path / "bench_some.py"
    script.write_text(
        "import os, unmask.errors; print(os.environ['OMP_NUM_THREADS']); raise SystemExit(3)"
    )
    assert run.benches(tmp_path) == {"some": script}
    assert run.run_bench(script, sys.executable, timeout=60) == 3
    assert capfd.readouterr().out.strip() == "1"
    script.write_text("import time; time.sleep(60)")
    assert run.run_bench(script, sys.executable, timeout=0.5) == 124


def test_unknown_names_end_with_the_known_ones(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run.main(["no_such_topic"])
    assert stop.value.code == 2
    assert "no_such_topic" in capsys.readouterr().err


def test_every_result_is_on_one_page(run):
    """Pages are divided by the questions of users; each begins with a table."""
    pages = {path: path.read_text(encoding="utf-8") for path in run.RESULTS.glob("*.md")}
    assert len(pages) >= 4
    for path in run.RESULTS.glob("*.json"):
        if "page" in json.loads(path.read_text(encoding="utf-8")):
            continue
        start, stop = run.markers(path.stem)
        places = [page for page, text in pages.items() if start in text and stop in text]
        assert len(places) == 1, (path.stem, places)
        (table,) = [run.table(run.read(path.stem))]
        assert table in pages[places[0]], f"{path.stem}: python benchmarks/run.py --tables"
    for path, text in pages.items():
        head = text.partition("\n|")[0]
        assert len(head.splitlines()) <= 40, path


def test_results_go_to_the_page_that_has_their_markers(run, tmp_path):
    pages = {run.DEFAULT_PAGE: "", tmp_path / "accuracy.md": "<!-- results:flows -->"}
    found = run.assigned(pages, {"flows": result(1.0), "new": result(2.0)})
    assert {path: [*results] for path, results in found.items()} == {
        run.DEFAULT_PAGE: ["new"],
        tmp_path / "accuracy.md": ["flows"],
    }
    with pytest.raises(SystemExit, match="one page"):
        run.assigned(
            {**pages, tmp_path / "speed.md": "<!-- results:flows -->"}, {"flows": result(1.0)}
        )
