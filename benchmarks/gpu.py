"""What a GPU does: equality with the CPU, speed, memory, and a training of three minutes.

    python benchmarks/gpu.py                     all, under eight minutes; needs a GPU
    python benchmarks/gpu.py --only kmeans,dense these parts
    python benchmarks/gpu.py --tiny              small sizes on any device, in seconds

Results go to ``<out>/gpu.json`` (default docs/results) after every part, so that a run that is
ended keeps what it has measured; without a GPU nothing is written. A part that fails is a row with
its error, and the exit code is 1. Images are read from UNMASK_DATA (dsb2018_nuclei); if they are
missing, synthetic nuclei take their place, and the row of the training says so.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gpu_parts
from gpu_workloads import WORKLOADS, compare_with_cpu, measure_training
from harness import RESULTS, machine, write

Row = dict[str, Any]
# A part starts only if the budget has room for its usual time, in seconds on a recent GPU.
BUDGET = 470.0
TRAINING = 180.0


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        name: for ``--only``.
        seconds: usual time on a recent GPU, compiling and loading included.
        run: gives its rows.
    """

    name: str
    seconds: float
    run: Callable[[], list[Row]]


def parts(device: torch.device, *, tiny: bool) -> list[Part]:
    """All parts, the most important first."""
    found = [Part("peak", 3, lambda: gpu_parts.measure_peaks(device, tiny=tiny))]
    found.append(Part("equality", 40, lambda: compare_with_cpu(device, tiny=tiny)))
    for name in WORKLOADS:
        run = lambda n=name: measure_training(n, device, tiny=tiny)  # noqa: E731
        found.append(Part(name, 18, run))
    found += [
        Part("kmeans", 10, lambda: gpu_parts.measure_kmeans(device, tiny=tiny)),
        Part("dense", 20, lambda: gpu_parts.measure_dense(device, tiny=tiny)),
        Part("flows", 10, lambda: gpu_parts.measure_flows(device, tiny=tiny)),
        Part("predict", 15, lambda: gpu_parts.measure_prediction(device, tiny=tiny)),
        Part("train", TRAINING + 35, lambda: gpu_parts.train_nuclei(device, tiny=tiny)),
    ]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="small sizes, on any device")
    parser.add_argument("--only", default="", help="names of parts, separated by commas")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of gpu.json")
    parser.add_argument("--device", default=None, help="default: the GPU; with --tiny the CPU too")
    parser.add_argument("--seconds", type=float, default=BUDGET, help="time for all parts")
    asked = parser.parse_args(arguments)
    device = find_device(asked.device, tiny=asked.tiny)
    chosen = parts(device, tiny=asked.tiny)
    if unknown := {n for n in asked.only.split(",") if n} - {part.name for part in chosen}:
        parser.error(f"no part {', '.join(sorted(unknown))}: {', '.join(p.name for p in chosen)}")
    wanted = [part for part in chosen if not asked.only or part.name in asked.only.split(",")]
    # A trial runs everything, however busy the machine is.
    budget = math.inf if asked.tiny else asked.seconds
    rows, failed = run_parts(wanted, device, asked.out, budget)
    if device.type != "cuda":
        print(f"{len(rows)} rows on {device}; nothing is written without a GPU.")
    return 1 if failed else 0


def find_device(name: str | None, *, tiny: bool) -> torch.device:
    """The device that is measured; ends the program where there is no GPU to measure."""
    if name is not None:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if tiny:
        return torch.device("cpu")
    raise SystemExit("benchmarks/gpu.py: expected a GPU, found none. Try it with --tiny.")


def run_parts(
    wanted: Sequence[Part], device: torch.device, out: Path, budget: float
) -> tuple[list[Row], list[str]]:
    """Rows of all parts, stored after each of them, and the names of those that failed."""
    rows: list[Row] = []
    failed: list[str] = []
    start = time.monotonic()
    for part in wanted:
        left = budget - (time.monotonic() - start)
        if left < part.seconds:
            rows.append({"what": part.name, "note": f"left out: {left:.0f} s were left"})
            continue
        print(f"== {part.name} ({left:.0f} s left)", flush=True)
        begin = time.process_time()
        try:
            rows += part.run()
        except Exception as error:  # noqa: BLE001 - one failure must not end the others
            traceback.print_exc()
            failed.append(part.name)
            text = (str(error).splitlines() or [""])[0]
            rows.append({"what": part.name, "note": f"failed: {type(error).__name__}: {text}"})
        finally:
            gpu_parts.release(device)
        print(f"== {part.name}: {time.process_time() - begin:.1f} CPU s", flush=True)
        if device.type == "cuda":
            write("gpu", rows, out, machine() | gpu_parts.describe_gpu(device))
    return rows, failed


if __name__ == "__main__":
    sys.exit(main())
