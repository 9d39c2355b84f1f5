"""Fair timing: CPU seconds of this process, minimum of several runs, rivals interleaved.

``measure(fn, repeats)``, ``interleave({name: fn}, repeats)``, ``write(name, rows)``. The first call
of each function is not counted: it compiles, loads and fills caches. Run benchmarks with one
thread; CPU seconds add up over threads.
"""

from __future__ import annotations

import datetime
import gc
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
COLUMNS = ("what", "ours", "peer", "ratio", "floor", "unit", "note")
_PACKAGES = ("numpy", "numba", "torch")
# What decides about the speed of networks, the fastest first, by the flags of Linux.
_INSTRUCTIONS = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512 with bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}


def measure(fn: Callable[[], object], repeats: int) -> float:
    """CPU seconds of the fastest of ``repeats`` calls, after one that does not count."""
    return interleave({"": fn}, repeats)[""]


def interleave(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """``measure`` for several functions that take turns, so that a busy machine hits all alike."""
    for fn in functions.values():
        fn()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, fn in functions.items():
            gc.collect()
            begin = time.process_time()
            fn()
            best[name] = min(best[name], time.process_time() - begin)
    return best


def row(
    what: str,
    seconds: Mapping[str, float],
    *,
    floor: float | None = None,
    unit: str = "s",
    note: str = "",
) -> dict[str, Any]:
    """A row from ``interleave({"ours": ..., "peer": ...})``; the peer may be missing."""
    ours, peer = seconds["ours"], seconds.get("peer")
    ratio = None if peer is None else peer / ours
    values = (what, ours, peer, ratio, floor, unit, note)
    return dict(zip(COLUMNS, values, strict=True))


def write(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    folder: Path = RESULTS,
    measured_on: Mapping[str, str] | None = None,
) -> Path:
    """Print the rows and store them with machine and date as ``<folder>/<name>.json``.

    ``measured_on`` takes the place of what `machine` finds.

    Raises:
        ValueError: a row with an unknown column or without ``what``.
    """
    for entry in rows:
        if not entry.get("what") or set(entry) - set(COLUMNS):
            raise ValueError(f"{name}: expected the columns {COLUMNS}, found {sorted(entry)}.")
    full = [{column: _rounded(entry.get(column)) for column in COLUMNS} for entry in rows]
    for entry in full:
        print(
            "  ".join(f"{key}={value}" for key, value in entry.items() if value not in ("", None))
        )
    result = {
        "machine": measured_on or machine(),
        "date": datetime.date.today().isoformat(),
        "rows": full,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, str]:
    """Processor, number of cores, system and the packages that decide about speed."""
    found = {"processor": _processor(), "cores": f"{os.cpu_count()} cores"}
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["python"] = f"Python {platform.python_version()}"
    for package in _PACKAGES:
        try:
            found[package] = f"{package} {version(package)}"
        except PackageNotFoundError:
            found[package] = f"no {package}"
    return found


def _processor() -> str:
    """Model name and widest instructions, where the system reports them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    found = {key.strip(): value.strip() for key, _, value in (s.partition(":") for s in lines)}
    name = found.get("model name") or platform.processor() or platform.machine()
    flags = set(found.get("flags", "").split())
    widest = [each for flag, each in _INSTRUCTIONS.items() if flag in flags][:1]
    return ", ".join([name, *widest])


def _rounded(value: object) -> object:
    """Four significant digits: more would only make differences in version control."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value
