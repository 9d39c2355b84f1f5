"""Every part of the fault injection in its small form, and the page that it writes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
# Each group is a test of its own, so that they run next to each other. A process per part would
# import the program seven times.
GROUPS = [("kills",), ("flips", "bombs"), ("fuzz", "disk", "outside", "suite")]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="children are measured by /proc"
)


@pytest.fixture(scope="module")
def faults():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        for name in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
            patch.setenv(f"{name}_NUM_THREADS", "1")
        spec = importlib.util.spec_from_file_location("benchmarks_faults", FOLDER / "faults.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    for name in [
        name for name in sys.modules if name.partition(".")[0] in {"injection", "harness"}
    ]:
        sys.modules.pop(name)


@pytest.mark.slow
@pytest.mark.parametrize("parts", GROUPS, ids="+".join)
def test_nothing_fails_in_the_small_form(tmp_path, parts):
    """In a process of its own: it forks, which needs a single thread."""
    command = [sys.executable, str(FOLDER / "faults.py"), "--tiny", "--work", str(tmp_path)]
    command += ["--parts", ",".join(parts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    for name in parts:
        assert f"== {name}" in done.stdout
    assert ", 0 failed" in done.stdout


def test_the_small_form_has_every_part(faults):
    assert [name for group in GROUPS for name in group] == list(faults.PARTS)


def row(group, verdicts, failed=0):
    tries = sum(verdicts.values())
    return {"part": "kills", "group": group, "tries": tries, "failed": failed, "cpu_s": 1.5,
            "verdicts": verdicts, "memory_mb": 7}  # fmt: skip


def result():
    return {
        "machine": {"cores": "2 cores"},
        "date": "2026-01-02",
        "cpu_minutes": 20.0,
        "parts": {
            "kills": {
                "cpu_s": 9,
                "rows": [row("train, 2D", {"equal": 20}), row("pretrain", {"equal": 5})],
            },
            "bombs": {
                "cpu_s": 9,
                "rows": [row("recipes (YAML)", {"refused": 3, "traceback": 2}, 2)],
            },
        },
    }


def test_the_page_is_renewed_and_keeps_its_text(faults):
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    once = faults.rebuilt(page, result())
    assert faults.rebuilt(once, result()) == once
    assert once.startswith("# Reliability\n")
    lines = [line for line in once.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(line.split("|")[1]) for line in lines] == list(range(1, 45))
    assert "25 trials | as promised: 25 equal to an uninterrupted run" in lines[0]
    assert "**2 failed**: 3 refused, 2 traceback" in lines[31]
    assert "Does not apply: The program downloads nothing" in lines[29]
    assert "serve/test_faults.py" in lines[34]
    assert "*2 cores; 2026-01-02; 20.0 CPU minutes*" in once
    with pytest.raises(SystemExit, match="one pair"):
        faults.rebuilt(page.replace("<!-- faults:rows -->", ""), result())


def test_every_test_of_the_table_exists(faults):
    rows = importlib.import_module("injection.catalog").ROWS
    missing = []
    for name in {name for row in rows for name in row.tests}:
        file, _, function = name.partition("::")
        path = ROOT / "tests" / file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not re.search(rf"def {function}\(", text):
            missing.append(name)
    assert sorted(missing) == []
    assert [row.number for row in rows] == list(range(1, 45))
    assert all(row.applies or row.limit for row in rows)


def test_verdicts_outlive_an_interruption(faults, tmp_path, monkeypatch):
    forks = importlib.import_module("injection.forks")
    trial = importlib.import_module("injection.trial")
    ran: list[str] = []

    def verdicts(trials, **_):
        for key, run in trials:
            ran.append(key)
            if key == "c":
                raise KeyboardInterrupt
            yield key, forks.Outcome("done", run(), 0.5, 10)

    monkeypatch.setattr(forks, "run_all", verdicts)
    monkeypatch.setattr(forks, "run_one", lambda *_: forks.Outcome("done", None, 1.0, 0))
    trials = [
        trial.Trial(k, "letters", lambda: trial.Verdict("letters", "equal").json()) for k in "abcd"
    ]
    part = trial.Part("letters", lambda *_: None, lambda *_: trials)
    with pytest.raises(KeyboardInterrupt):
        faults.run_part(part, tmp_path, tiny=True, jobs=1)
    # A line that was being written is left out.
    with (tmp_path / "letters.jsonl").open("a") as file:
        file.write('{"key": "d", "ver')
    monkeypatch.setattr(forks, "run_all", lambda t, **_: verdicts([x for x in t if x[0] != "c"]))
    assert ran == ["a", "b", "c"]
    with pytest.raises(KeyError, match="c"):
        faults.run_part(part, tmp_path, tiny=True, jobs=1)
    assert ran == ["a", "b", "c", "d"]


def test_rows_are_summarized(faults, tmp_path):
    common = {"group": "g", "count": 1, "detail": "", "growth": 1e6}
    records = [
        {"key": str(n), "verdict": verdict, "cpu": n, **common}
        for n, verdict in enumerate(["equal", "equal", "silent"])
    ]
    (found,) = faults.summarize("kills", records)
    assert (found["tries"], found["failed"]) == (3, 1)
    assert found["verdicts"] == {"equal": 2, "silent": 1}
    path = tmp_path / "results" / "faults.json"
    faults.write_result({"kills": records}, path)
    faults.write_result({"bombs": records[:2]}, path)
    stored = json.loads(path.read_text())
    assert list(stored["parts"]) == ["kills", "bombs"]
    assert stored["parts"]["kills"]["failures"] == [{"key": "2", "group": "g", "verdict": "silent"}]


def test_chosen_rows_join_the_stored_ones(faults, tmp_path, monkeypatch):
    """Verdicts of other rows stay, though the code is another one; the page says what is later."""
    wanted = faults.groups_of([36, 1])
    assert wanted["kills"] == ("pretrain", "train")
    names = wanted["suite"]
    assert any("killed_browser" in name for name in names)
    with pytest.raises(SystemExit, match="99"):
        faults.groups_of([36, 99])
    records = [
        {"key": name, "group": name, "verdict": "passed", "count": 2, "growth": 1e6, "cpu": 30.0}
        for name in names
    ]
    path = tmp_path / "faults.json"
    older = {"suite": {"cpu_s": 5, "rows": [row("a/test_b.py::test_c", {"passed": 1})]}}
    older["suite"]["rows"].append({**row(names[0], {"failed": 9}, 9), "part": "suite"})
    older["suite"]["failures"] = [{"key": names[0], "group": names[0], "verdict": "failed"}]
    stored = {**result(), "code": "of another day"}
    path.write_text(json.dumps({**stored, "parts": {**stored["parts"], **older}}))
    for _ in range(2):
        faults.write_rows([1, 36], {"suite": records}, path)
    found = json.loads(path.read_text())
    assert found["code"] == "of another day"
    assert found["parts"]["kills"] == result()["parts"]["kills"]
    assert [each["group"] for each in found["parts"]["suite"]["rows"]] == sorted(
        {"a/test_b.py::test_c", *names}
    )
    assert found["parts"]["suite"]["failures"] == []
    (later,) = found["later"]
    assert (later["part"], later["rows"], later["cpu_s"]) == ("suite", [1, 36], 30 * len(names))
    page = faults.rebuilt((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), found)
    assert f"| {2 * (len(names) - 2)} test cases | as promised |" in page
    assert "`suite`, rows 1, 36: run alone on" in page
    monkeypatch.setattr(faults, "code_digest", lambda: "of another day")
    faults.write_result({"suite": records}, path)
    assert json.loads(path.read_text())["later"] == []


def test_limits_and_groups_of_children(tmp_path):
    """Values, exceptions, hangs and memory, in a process with one thread."""
    program = f"""
import sys, time
sys.path[:0] = [{str(FOLDER)!r}]
from injection import forks
limits = forks.Limits(seconds=20, memory=2**28)
def show(function, limits=limits):
    found = forks.run_one(function, limits)
    print(found.how, found.value if found.how == "done" else "", found.growth > 5e7)
show(lambda: 7)
show(lambda: 1 / 0)
show(lambda: len(bytes(10**8).replace(b"\\0", b"\\1")))
show(lambda: len(bytes(10**9)))
show(lambda: time.sleep(60), forks.Limits(seconds=0.2))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "done 7 False", "exit 71  False", "done 100000000 True", "exit 71  False", "hang  False"
    ]  # fmt: skip
