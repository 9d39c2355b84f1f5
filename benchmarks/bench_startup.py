"""Start-up: processor time of whole commands, against ``import torch`` in the same minutes.

Each command is a process of its own, runs on synthetic images of 256^2 with warm caches, and takes
turns with ``python -c "import torch"``, so that a busy machine hits all alike. ``ratio`` is that of
the fastest runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from harness import write
from unmask.io import save_image
from unmask.phantoms.cells import nuclei

REPEATS = 8
PAIRS = 8
COMMANDS = {
    "unmask --help": (["--help"], "0.3 s"),
    "unmask presets": (["presets"], "0.8 s"),
    "unmask models": (["models"], "no torch"),
    "unmask predict, 1 image": (
        ["predict", "images/0.tif", "--model", "nuclei", "--out", "out", "--overwrite"],
        "1.6 of import torch",
    ),
    "unmask evaluate, 8 pairs": (
        ["evaluate", "--truth", "labels", "--predicted", "predicted"],
        "0.65 of import torch",
    ),
    "unmask measure, 8 images": (
        [
            "measure",
            "--labels",
            "labels",
            "--images",
            "images",
            "--out",
            "table.csv",
            "--overwrite",
        ],
        "no torch",
    ),
}


def cpu_seconds(arguments: list[str], folder: Path) -> float:
    """User and system time of one process."""
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def make_images(folder: Path) -> None:
    """Images, labels, and predictions that differ from them."""
    for number in range(PAIRS):
        phantom = nuclei((256, 256), rng=np.random.default_rng(number))
        save_image(folder / "images" / f"{number}.tif", phantom.image)
        labels = phantom.labels.astype(np.uint16)
        save_image(folder / "labels" / f"{number}.tif", labels)
        save_image(folder / "predicted" / f"{number}.tif", np.roll(labels, 2, axis=0))


def main() -> None:
    """Run all commands in turns and write ``docs/results/startup.json``."""
    programs = {name: ["-m", "unmask", *given] for name, (given, _) in COMMANDS.items()}
    programs["import torch"] = ["-c", "import torch"]
    best = dict.fromkeys(programs, float("inf"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder)
        for program in programs.values():
            cpu_seconds(program, folder)
        for _ in range(REPEATS):
            for what, program in programs.items():
                best[what] = min(best[what], cpu_seconds(program, folder))
    torch = best.pop("import torch")
    rows = [
        {
            "what": what,
            "ours": round(seconds, 3),
            "peer": round(torch, 3),
            "ratio": round(seconds / torch, 3),
            "floor": None,
            "unit": "s",
            "note": f"processor time; peer: import torch; goal: {COMMANDS[what][1]}",
        }
        for what, seconds in best.items()
    ]
    write("startup", rows)


if __name__ == "__main__":
    main()
