"""Inject faults into the whole program and count what came of them.

    python benchmarks/faults.py                      all parts, then docs/reliability.md
    python benchmarks/faults.py --parts kills,flips  these
    python benchmarks/faults.py --rows 35,36         what these rows of the table need
    python benchmarks/faults.py --tiny               a few trials of each part
    python benchmarks/faults.py --page               the page alone, from docs/results/faults.json

It takes about 25 CPU minutes, on two idle cores half of that. Each trial runs in a child process
with limits, and its verdict is kept in ``--work`` at once: the same command resumes after an
interruption. A change of the program or of these files begins again. Chosen rows are put next to
stored ones, and the page says that they are later. The exit code is 1 if any trial failed.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# One thread: several threads wait for each other on shared cores, and a fork keeps only one.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "src")]

from harness import machine  # noqa: E402 - after the path
from injection import forks  # noqa: E402
from injection.catalog import ROWS  # noqa: E402
from injection.page import rebuilt  # noqa: E402
from injection.trial import GOOD, Part, Trial, Verdict  # noqa: E402

RESULT = ROOT / "docs" / "results" / "faults.json"
PAGE = ROOT / "docs" / "reliability.md"
PARTS = ("kills", "flips", "bombs", "fuzz", "disk", "outside", "suite")
_LIBRARIES = (
    "tifffile", "PIL.Image", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.BmpImagePlugin",
    "nibabel", "h5py", "zarr", "pydicom", "numcodecs", "imagecodecs", "pytest", "hypothesis",
)  # fmt: skip
_SETUP = forks.Limits(seconds=600, cpu=600, memory=None)
# Failures that are kept in the result; more would only repeat them.
_SHOWN = 200


def find_part(name: str) -> Part:
    """The part of a name."""
    return importlib.import_module(f"injection.{name}").PART


def code_digest() -> str:
    """Digest of the program and of the injection, so that old verdicts are not mixed with new."""
    digest = hashlib.sha256()
    for folder in (ROOT / "src", ROOT / "benchmarks" / "injection"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(ROOT).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def groups_of(rows: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Starts of the groups that these rows of the table name, by part.

    Raises:
        SystemExit: a row that is not in the table, or that nothing tries.
    """
    chosen = [row for row in ROWS if row.number in rows and row.applies]
    if unknown := sorted(set(rows) - {row.number for row in chosen}):
        raise SystemExit(f"--rows: expected rows that are tried, found {unknown}.")
    found: dict[str, tuple[str, ...]] = {}
    for row in chosen:
        for part, group in (*row.groups, *(("suite", name) for name in row.tests)):
            found[part] = (*found.get(part, ()), group)
    return {name: found[name] for name in PARTS if name in found}


def run_part(
    part: Part, work: Path, *, tiny: bool, jobs: int, groups: tuple[str, ...] = ("",)
) -> list[dict[str, Any]]:
    """Run the trials that have no verdict yet; the verdicts of all.

    Args:
        part: holds the trials.
        work: folder of inputs and verdicts.
        tiny: a few trials.
        jobs: children at a time.
        groups: starts of the groups that are wanted.

    Raises:
        RuntimeError: the inputs could not be made.
    """
    inputs, done = work / part.name, work / f"{part.name}.ready"
    log = work / f"{part.name}.jsonl"
    if not done.exists():
        shutil.rmtree(inputs, ignore_errors=True)
        inputs.mkdir(parents=True)
        made = forks.run_one(lambda: part.prepare(inputs, tiny), _SETUP)
        if made.how != "done":
            raise RuntimeError(f"{part.name}: the inputs were not made ({made.how}): {made.value}")
        done.write_text(f"{made.cpu}")
    wanted = [trial for trial in part.trials(inputs, tiny) if trial.group.startswith(groups)]
    trials = {trial.key: trial for trial in wanted}
    known = _read_log(log)
    missing = [trial for key, trial in trials.items() if key not in known]
    if missing:
        with log.open("a", encoding="utf-8") as file:
            for record in _verdicts(part.name, missing, jobs):
                known[record["key"]] = record
                file.write(json.dumps(record) + "\n")
                file.flush()
    return [known[key] for key in trials]


def _read_log(log: Path) -> dict[str, dict[str, Any]]:
    """Verdicts by key; a line that an interruption cut is left out."""
    known: dict[str, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        known[record["key"]] = record
    return known


def _verdicts(name: str, trials: Sequence[Trial], jobs: int) -> Iterable[dict[str, Any]]:
    """Verdicts in order of completion, with a line of progress every few seconds."""
    begin = shown = time.monotonic()
    failed = count = 0
    for limits in dict.fromkeys(trial.limits for trial in trials):
        chosen = {trial.key: trial for trial in trials if trial.limits == limits}
        todo = [(key, trial.run) for key, trial in chosen.items()]
        for key, outcome in forks.run_all(todo, jobs=jobs, limits=limits):
            found = chosen[key].judge(outcome)
            count, failed = count + 1, failed + (found.verdict not in GOOD)
            if found.verdict not in GOOD:
                print(f"  {name}: {key}: {found.verdict}: {_line(found)}", flush=True)
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                rest = (shown - begin) / count * (len(trials) - count)
                state = f"{count} of {len(trials)}, {failed} failed, about {rest:.0f} s left"
                print(f"  {name}: {state}", flush=True)
            usage = {"cpu": round(outcome.cpu, 3), "growth": outcome.growth}
            yield {"key": key, **found.json(), **usage}


def _line(found: Verdict) -> str:
    return " ".join(found.detail.split())[:300]


def summarize(part: str, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per group: tries, verdicts, failures, the largest memory and CPU time."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(record["group"], []).append(record)
    return [
        {
            "part": part,
            "group": group,
            "tries": sum(record["count"] for record in members),
            "failed": sum(record["verdict"] not in GOOD for record in members),
            "verdicts": dict(sorted(_counted(members).items())),
            "memory_mb": round(max(record["growth"] for record in members) / 1e6),
            "cpu_s": round(max(record["cpu"] for record in members), 2),
        }
        for group, members in sorted(groups.items())
    ]


def _counted(members: Sequence[dict[str, Any]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for record in members:
        found[record["verdict"]] += record["count"]
    return found


def write_result(found: dict[str, list[dict[str, Any]]], path: Path = RESULT) -> None:
    """Merge the parts that ran into the stored result."""
    stored: dict[str, Any] = {"parts": {}}
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
    # Verdicts on another program do not stand next to these.
    if stored.get("code") != (code := code_digest()):
        stored |= {"parts": {}, "later": []}
    stored |= {"page": PAGE.name, "machine": machine(), "code": code}
    stored["date"] = datetime.date.today().isoformat()
    for part, records in found.items():
        stored["parts"][part] = {
            "cpu_s": round(sum(record["cpu"] for record in records)),
            "rows": summarize(part, records),
            "failures": _failures(records),
        }
    stored["cpu_minutes"] = round(sum(part["cpu_s"] for part in stored["parts"].values()) / 60, 1)
    # What ran as a whole is no longer older than its later rows.
    stored["later"] = [later for later in stored.get("later", ()) if later["part"] not in found]
    _store(path, stored)


def write_rows(
    rows: Sequence[int], found: dict[str, list[dict[str, Any]]], path: Path = RESULT
) -> None:
    """Put the groups of some rows next to the stored ones, and note that they are later."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    about = {"rows": sorted(rows), "date": datetime.date.today().isoformat(), "code": code_digest()}
    kept = [later for later in stored.get("later", ()) if set(later["rows"]) - set(rows)]
    for part, records in found.items():
        fresh = summarize(part, records)
        known = stored["parts"].setdefault(part, {"cpu_s": 0, "rows": [], "failures": []})
        groups = {row["group"] for row in fresh}
        for name, more in (("rows", fresh), ("failures", _failures(records))):
            known[name] = [row for row in known[name] if row["group"] not in groups] + more
        known["rows"].sort(key=lambda row: row["group"])
        cpu = round(sum(record["cpu"] for record in records))
        kept.append({"part": part, **about, "cpu_s": cpu})
    _store(path, {**stored, "later": kept})


def _store(path: Path, stored: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _failures(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    failed = [record for record in records if record["verdict"] not in GOOD]
    return [{key: record[key] for key in ("key", "group", "verdict")} for record in failed][:_SHOWN]


def run_parts(
    wanted: Mapping[str, tuple[str, ...]], work: Path, *, tiny: bool, jobs: int
) -> dict[str, list[dict[str, Any]]]:
    """Verdicts by part.

    Args:
        wanted: starts of groups by part.
        work: folder of inputs and verdicts.
        tiny: a few trials.
        jobs: children at a time.
    """
    # For tests that start the program in a new process.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    forks.import_everything("unmask", *_LIBRARIES)
    work = work / ("tiny" if tiny else "full") / code_digest()
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for name, groups in wanted.items():
        print(f"== {name}", flush=True)
        found[name] = run_part(find_part(name), work, tiny=tiny, jobs=jobs, groups=groups)
        for row in summarize(name, found[name]):
            verdicts = ", ".join(f"{count} {word}" for word, count in row["verdicts"].items())
            usage = f"up to {row['memory_mb']} MB and {row['cpu_s']} CPU s"
            print(f"{name}: {row['group']}: {row['tries']} tries: {verdicts} ({usage})")
    return found


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parts", default=",".join(PARTS), help="some of: " + ",".join(PARTS))
    parser.add_argument("--rows", default="", help="numbers of rows of the table, without others")
    parser.add_argument("--tiny", action="store_true", help="a few trials; writes no result")
    parser.add_argument("--page", action="store_true", help="rebuild the page alone")
    parser.add_argument("--jobs", type=int, default=2, help="children at a time")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "faults", help="folder")
    chosen = parser.parse_args(arguments)
    chosen.parts = [name for name in chosen.parts.split(",") if name]
    if unknown := sorted(set(chosen.parts) - set(PARTS)):
        parser.error(f"no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    words = [word.strip() for word in chosen.rows.split(",") if word.strip()]
    if not all(word.isdecimal() for word in words) or (words and chosen.tiny):
        parser.error("--rows: expected numbers such as 35,36, and no --tiny")
    chosen.rows = [int(word) for word in words]
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 if a trial failed."""
    chosen = _parsed(arguments)
    failed = 0
    if not chosen.page:
        wanted = groups_of(chosen.rows) if chosen.rows else dict.fromkeys(chosen.parts, ("",))
        found = run_parts(wanted, chosen.work, tiny=chosen.tiny, jobs=chosen.jobs)
        records = [record for each in found.values() for record in each]
        failed = sum(record["verdict"] not in GOOD for record in records)
        cpu = sum(record["cpu"] for record in records)
        print(f"{len(records)} tries, {failed} failed, {cpu / 60:.1f} CPU minutes")
        if chosen.rows:
            write_rows(chosen.rows, found)
        elif not chosen.tiny:
            write_result(found)
    if not chosen.tiny:
        result = json.loads(RESULT.read_text(encoding="utf-8"))
        PAGE.write_text(rebuilt(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
