"""What plans of few labels decide, on training images that were left out.

    python benchmarks/left_out.py fit --out RUNS     writes docs/results/left_out_fit.json
    python benchmarks/left_out.py rate --out RUNS    writes docs/results/left_out_rate.json

``fit``: predictions with ``infer.fit=scale`` and without, and the best scale of each image.
``rate``: learning rates of trainings from `phantoms2d`. Images are drawn as by `few_labels.py`; no
validation image is read. A finished training, and a finished part, is used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from accuracy import DATA
from few_labels import Arm, draw_images, train
from harness import write
from unmask.infer.fitting import SCALES, choose_stable, try_scales
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.metrics import evaluate_pair

# Left-out images that are scored.
_MOST = 10
METRICS = ("f1@0.5", "aji")


@dataclass(frozen=True)
class Case:
    """A training, and the images that it does not see.

    Attributes:
        arm: what is trained.
        draw: of its labeled images.
        rate: peak learning rate; None: as `few_labels.py` does.
    """

    arm: Arm
    draw: int
    rate: float | None = None

    @property
    def name(self) -> str:
        """Name of its folder, and of its results."""
        arm, rate = self.arm, "" if self.rate is None else f"_{self.rate:g}"
        return f"{arm.set}_{arm.count}_{arm.init}_{arm.updates}_{self.draw}{rate}"

    def __str__(self) -> str:
        """What a row of the table calls it."""
        rate = "" if self.rate is None else f", rate {self.rate:g}"
        return f"{self.arm.set}: {self.arm}, draw {self.draw}{rate}"


def _start(name: str, count: int, updates: int, init: str = "phantoms2d") -> Arm:
    return Arm(name, count, init, updates)


FITS = (
    Case(_start("germline_nuclei", 1, 250), 3),
    Case(_start("germline_nuclei", 1, 250, "none"), 3),
    Case(_start("germline_nuclei", 2, 250), 1),
    Case(_start("germline_nuclei", 2, 250, "none"), 1),
    Case(_start("dsb2018_nuclei", 2, 250), 0),
    Case(_start("usiigaci_phase", 1, 150), 0),
    Case(_start("worms_bbbc010", 2, 200), 0),
)
RATES = tuple(
    Case(_start(name, 1, 400), draw, rate)
    for name, draw in (("worms_bbbc010", 2), ("germline_nuclei", 2), ("germline_nuclei", 3))
    for rate in (0.0005, 0.001, 0.002)
)


def run_case(case: Case, out: Path) -> tuple[Path, list[Path]]:
    """The trained model of a case, and its left-out images."""
    arm, folder = case.arm, out / case.name
    images = [
        path
        for group in draw_images(arm.set, case.draw, DATA / arm.set / "train")
        for path in group
    ]
    finished = folder / "finished"
    if not finished.exists():
        rate = [] if case.rate is None else [f"train.lr={case.rate:g}"]
        train(arm, case.draw, images[: arm.count], folder, rate)
        finished.touch()
    return folder / "run", images[arm.count :][:_MOST]


def try_fit(case: Case, out: Path) -> dict[str, Any]:
    """Mean F1 without the fit, with it, and at the best scale of each image."""
    model, images = run_case(case, out)
    predictor = replace(load_predictor(model), fit=())
    rows: list[tuple[float, float, float, bool]] = []
    for file in images:
        truth = _read_truth(file)
        trials = list(try_scales(predictor, open_image(file, ndim=2), SCALES, doubting=False))
        scores = {
            trial.scale: evaluate_pair(truth, trial.labels, METRICS[:1])[METRICS[0]]
            for trial in trials
        }
        chosen = choose_stable(iter(trials)).scale
        rows.append((scores[1.0], scores[chosen], max(scores.values()), chosen != 1.0))
    plain, fitted, best, changed = (
        statistics.fmean(values) for values in zip(*rows, strict=True)
    )  # fmt: skip
    return {
        "what": str(case),
        "ours": fitted,
        "peer": plain,
        "unit": METRICS[0],
        "note": f"best scale of each image {best:.3f}; the scale of "
        f"{round(changed * len(rows))} of {len(rows)} images changes",
    }


def try_rate(case: Case, out: Path) -> dict[str, Any]:
    """Mean F1 and AJI."""
    model, images = run_case(case, out)
    predictor = load_predictor(model)
    rows = [
        evaluate_pair(
            _read_truth(file), predictor.predict(open_image(file, ndim=2)).labels, METRICS
        )
        for file in images
    ]
    first, second = (statistics.fmean(row[metric] for row in rows) for metric in METRICS)
    note = f"aji {second:.3f}; {len(rows)} images"
    return {"what": str(case), "ours": first, "unit": METRICS[0], "note": note}


def _read_truth(image: Path) -> Any:
    return open_labels(image.parents[1] / "labels" / image.name, ndim=2).read()[0]


def collect(what: str, cases: Sequence[Case], out: Path) -> Iterator[dict[str, Any]]:
    """Rows of all cases; those of RUNS are taken over."""
    for case in cases:
        file = out / case.name / f"{what}.json"
        if not file.exists():
            row = try_fit(case, out) if what == "fit" else try_rate(case, out)
            file.write_text(json.dumps(row), encoding="utf-8")
        yield json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("fit", "rate"))
    parser.add_argument("--out", type=Path, default=Path("runs") / "left_out")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cases = FITS if asked.what == "fit" else RATES
    write(f"left_out_{asked.what}", list(collect(asked.what, cases, asked.out)))


if __name__ == "__main__":
    main()
