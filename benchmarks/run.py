"""Run the benchmarks one by one and rebuild the tables of docs/results/*.md.

    python benchmarks/run.py                 all of them, then the tables
    python benchmarks/run.py flows metrics   these
    python benchmarks/run.py --tables        the tables alone, from docs/results/*.json

Every ``bench_<name>.py`` runs in a process of its own, with one thread, and writes
``docs/results/<name>.json``: ``{"machine": ..., "date": ..., "rows": [{"what", "ours", "peer",
"ratio", "floor", "unit", "note"}, ...]}``. A ratio above 1 is in our favor; one that fell by more
than 15 % against the file before the run is reported, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
# Results without a place on any page are added to this one.
DEFAULT_PAGE = RESULTS / "speed.md"
COLUMNS = ("what", "ours", "peer", "ratio", "floor", "unit", "note")
# Spread of equal runs on a shared machine is 1-8 %; below this a difference says nothing.
TOLERANCE = 0.15
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def benches(folder: Path) -> dict[str, Path]:
    """Name to script."""
    return {path.stem.removeprefix("bench_"): path for path in sorted(folder.glob("bench_*.py"))}


def run_bench(script: Path, python: str, timeout: float) -> int:
    """Exit code of one benchmark; its output goes to ours."""
    paths = [str(ROOT / "src"), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | dict.fromkeys(_ONE_THREAD, "1")
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        done = subprocess.run(
            [python, str(script)], cwd=ROOT, env=environment, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"{script.name}: stopped after {timeout:.0f} s", file=sys.stderr)
        return 124
    return done.returncode


def read(name: str, folder: Path = RESULTS) -> dict[str, Any] | None:
    """The stored result of a benchmark."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def fallen(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[str]:
    """Rows whose ratio fell by more than the tolerance."""
    if before is None or after is None:
        return []
    old = {row["what"]: row.get("ratio") for row in before["rows"]}
    lines = []
    for row in after["rows"]:
        was, now = old.get(row["what"]), row.get("ratio")
        if was is not None and now is not None and now < was * (1 - TOLERANCE):
            lines.append(f"{row['what']}: ratio {was:.3g} before, {now:.3g} now")
    return lines


def cell(value: object) -> str:
    """One value of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(result: Mapping[str, Any]) -> str:
    """Markdown of one result; columns that no row fills are left out."""
    rows = result["rows"]
    shown = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    lines = ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines += ["| " + " | ".join(cell(row.get(name)) for name in shown) + " |" for row in rows]
    machine = result.get("machine", "unknown machine")
    if isinstance(machine, Mapping):
        machine = ", ".join(str(value) for value in machine.values())
    lines += ["", f"*{machine}; {result.get('date', 'no date')}*"]
    return "\n".join(lines)


def markers(name: str) -> tuple[str, str]:
    """The comments around the table of a result."""
    return f"<!-- results:{name} -->", f"<!-- /results:{name} -->"


def rebuilt(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with the text between the markers of each result renewed, all else kept.

    A result without markers gets a section of its own at the end.
    """
    for name, result in results.items():
        start, stop = markers(name)
        if page.count(start) != page.count(stop) or page.count(start) > 1:
            raise SystemExit(f"docs/results: expected one pair of markers {start} {stop}.")
        if start not in page:
            page = f"{page.rstrip()}\n\n## {name}\n\n{start}\n{stop}\n"
        head, rest = page.split(start)
        page = f"{head}{start}\n{table(result)}\n{stop}{rest.split(stop)[1]}"
    return page


def assigned(
    pages: Mapping[Path, str], results: Mapping[str, Mapping[str, Any]]
) -> dict[Path, dict[str, Mapping[str, Any]]]:
    """The results of each page: those whose markers it has; the default page has the rest."""
    found: dict[Path, dict[str, Mapping[str, Any]]] = {path: {} for path in pages}
    for name, result in results.items():
        places = [path for path, text in pages.items() if markers(name)[0] in text]
        if len(places) > 1:
            raise SystemExit(f"{name}: expected one page, found {', '.join(map(str, places))}.")
        found[places[0] if places else DEFAULT_PAGE][name] = result
    return found


def write_pages() -> None:
    """Rebuild the tables of docs/results/*.md from every stored result."""
    stored = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
    # A result with a page of its own is not a table of these.
    tables = {name: result for name, result in sorted(stored.items()) if "page" not in result}
    pages = {path: path.read_text("utf-8") for path in sorted(RESULTS.glob("*.md"))}
    for path, results in assigned(pages, tables).items():
        path.write_text(rebuilt(pages[path], results), "utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a benchmark failed or became slower."""
    known = benches(ROOT / "benchmarks")
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(known)}")
    parser.add_argument("--tables", action="store_true", help="rebuild the tables alone")
    parser.add_argument("--python", default=sys.executable, help="interpreter, e.g. of the peers")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for each benchmark")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(known))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: choose from {', '.join(known)}")
    problems: list[str] = []
    for name in [] if chosen.tables else chosen.names or list(known):
        before, began = read(name), time.monotonic()
        print(f"== {name}", flush=True)
        code = run_bench(known[name], chosen.python, chosen.timeout)
        print(f"== {name}: exit code {code}, {time.monotonic() - began:.0f} s", flush=True)
        problems += [f"{name}: exit code {code}"] if code else fallen(before, read(name))
    write_pages()
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
