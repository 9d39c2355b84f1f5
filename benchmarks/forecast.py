"""Forecasts of time and memory by `check` and `train`, against what short trainings took.

    python benchmarks/forecast.py                 all sets
    python benchmarks/forecast.py --sets nuclei

Each set is checked and trained with a plan, in a process of its own and with one thread. Time is
that of a machine that does nothing else: the seconds that a process waited for a processor are
taken off. Results of earlier calls in docs/results/forecast.json are kept for other sets.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness import RESULTS, write
from unmask.io import save_image
from unmask.phantoms.cells import nuclei

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Study:
    """A data set and a short training on some of its images.

    Attributes:
        name: folder of the set; "" for synthetic nuclei in volumes.
        images: number of images, all of them with labels.
        settings: settings of the training, in addition to the plan.
    """

    name: str
    images: int
    settings: tuple[str, ...]


def _steps(count: int, *more: str) -> tuple[str, ...]:
    return f"train.steps={count}", f"train.validate_every={-(-count // 2)}", *more


STUDIES = {
    "nuclei": Study("dsb2018_nuclei", 12, _steps(40)),
    "nuclei, 2 folds": Study("dsb2018_nuclei", 4, _steps(24, "train.folds=2")),
    "membranes": Study("isbi2012_em", 12, _steps(24)),
    "hippocampus": Study("hippocampus_mri", 12, _steps(24)),
    "nuclei in volumes": Study("", 3, _steps(24, "train.folds=0", "data.holdout=0.3")),
}


def copy_images(study: Study, folder: Path) -> None:
    """Images and labels of a study, spread evenly over the set."""
    if not study.name:
        for number in range(study.images):
            phantom = nuclei((48, 96, 96), rng=np.random.default_rng(number))
            save_image(folder / "images" / f"{number}.tif", phantom.image)
            save_image(folder / "labels" / f"{number}.tif", phantom.labels.astype(np.uint16))
        return
    train = DATA / study.name / "train"
    paths = sorted((train / "images").iterdir())
    for index in np.linspace(0, len(paths) - 1, study.images).astype(int):
        for kind in ("images", "labels"):
            (folder / kind).mkdir(exist_ok=True)
            stem = paths[index].name.partition(".")[0]
            path = next((train / kind).glob(f"{stem}.*"))
            shutil.copy(path, folder / kind)


def run_job(job: str, folder: Path, settings: list[str]) -> dict[str, Any]:
    """Run one job in a process of its own; what it measured."""
    command = [sys.executable, __file__, "--job", job, str(folder), *settings]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def do_job(job: str, folder: Path, settings: list[str]) -> dict[str, Any]:
    """Forecast or train; printed as one line of JSON."""
    import unmask
    from unmask.api import briefing
    from unmask.memory import peak_memory
    from unmask.processes import busy_factor, waiting_times

    given: dict[str, Any] = {"images": folder / "images", "labels": folder / "labels"}
    if job == "check":
        return unmask.check(**given, settings=settings, say=lambda _: None).forecast
    begin, waited, cpu = time.perf_counter(), waiting_times(), time.process_time()
    said: list[briefing.Forecast] = []
    keep = briefing.extrapolate
    briefing.extrapolate = lambda *a, **k: said.append(keep(*a, **k)) or said[-1]
    unmask.train(**given, out=folder / "run", settings=settings)
    seconds = time.perf_counter() - begin
    return {
        "seconds": seconds / busy_factor(waited),
        "wall": seconds,
        "cpu": time.process_time() - cpu,
        "memory": peak_memory(),
        "said": said[0].seconds,
        "said_memory": said[0].memory,
    }


def rows_of(name: str, study: Study) -> Iterator[dict[str, Any]]:
    """Forecast against measurement for time and memory."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_images(study, folder)
        expected = run_job("check", folder, list(study.settings))
        found = run_job("train", folder, list(study.settings))
    print(name, expected, found, flush=True)
    note = f"{expected['updates']} updates; train said {found['said']:.3g} s before the first one"
    note += f"; clock {found['wall']:.0f} s, CPU {found['cpu']:.0f} s"
    what = f"{name}: forecast (ours) and training (peer)"
    time_row = {"what": f"{what}, time", "ours": expected["seconds"], "peer": found["seconds"]}
    yield time_row | {"ratio": found["seconds"] / expected["seconds"], "unit": "s", "note": note}
    ours, peer = expected["memory"] / 1e9, found["memory"] / 1e9
    memory = {"what": f"{what}, memory", "ours": ours, "peer": peer, "ratio": peer / ours}
    yield memory | {"unit": "GB", "note": f"train said {found['said_memory'] / 1e9:.2g} GB"}


def main() -> None:
    """Run all studies, or one job of one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="*", choices=[*STUDIES], default=[*STUDIES])
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        job, folder, *settings = given.job
        print(json.dumps(do_job(job, Path(folder), settings)))
        return
    path = RESULTS / "forecast.json"
    for name in given.sets:
        new = list(rows_of(name, STUDIES[name]))
        known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
        write("forecast", list({row["what"]: row for row in [*known, *new]}.values()))


if __name__ == "__main__":
    main()
