"""What threads of PyTorch cost that wait for each other, while other programs use the cores.

    python benchmarks/waiting.py           as many threads as cores, then docs/results/waiting.json
    python benchmarks/waiting.py --dry     print the rows, write nothing

Run it while every core is busy; on an idle machine the rows differ little. Eight convolutions of 32
channels on 128 x 128 pixels, four times; the fastest of three. ``ours`` is CPU seconds as the
command line sets GNU OpenMP, ``peer`` with its own waiting, ``floor`` with one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from harness import write
from unmask.startup import limit_waiting

PROGRAM = """
import json, sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
parts = [torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(8)]
image = torch.ones(1, 32, 128, 128)
runs = []
with torch.inference_mode():
    for _ in range(4):
        wall, used = time.perf_counter(), time.process_time()
        for part in parts * 4:
            torch.nn.functional.leaky_relu(part(image))
        runs.append((time.process_time() - used, time.perf_counter() - wall))
print(json.dumps(min(runs[1:])))
"""


def measure(threads: int, waiting: dict[str, str]) -> tuple[float, float]:
    """CPU seconds and wall seconds in a process of its own."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP", "GOMP"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)],
        env=clean | waiting, capture_output=True, text=True, check=True,
    )  # fmt: skip
    used, wall = json.loads(done.stdout)
    return used, wall


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dry", action="store_true", help="print the row, write nothing")
    asked = parser.parse_args(arguments)
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        os.environ.pop(name, None)
    limit_waiting()
    threads = os.cpu_count() or 1
    ours, peer, one = (
        measure(count, waiting)
        for count, waiting in (
            (threads, {"GOMP_SPINCOUNT": os.environ["GOMP_SPINCOUNT"]}), (threads, {}), (1, {})
        )
    )  # fmt: skip
    walls = f"wall {ours[1]:.2f} s, peer {peer[1]:.2f} s, one thread {one[1]:.2f} s"
    row = {
        "what": f"convolutions, {threads} threads on {threads} cores, all busy",
        "ours": ours[0], "peer": peer[0], "ratio": peer[0] / ours[0], "floor": one[0],
        "unit": "s", "note": f"peer: GNU OpenMP as it comes; floor: one thread; {walls}",
    }  # fmt: skip
    print(row)
    if not asked.dry:
        write("waiting", [row])
    return 0


if __name__ == "__main__":
    sys.exit(main())
