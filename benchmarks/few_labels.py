"""Few labels on real images: start weights, selected images, unlabeled images, drawn images.

    python benchmarks/few_labels.py run --out RUNS [--sets dsb2018_nuclei] [--draws 5] [--hours 2]
    python benchmarks/few_labels.py table --out RUNS      writes docs/results/few_labels.json

Draws are nested, stratified by the look of the images, and the same for all arms. Validation
images choose nothing. A finished training is one line of RUNS/rows.jsonl; ``run`` continues with
those that are missing. Data are read from UNMASK_DATA.

Sets of one volume are cut into parts, each of which counts as a labeled image; what validates is
another volume (`mito_sbem_nc`), or the other half of the same one (`plant_nuclei_3d_mini`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
import torch

import unmask
from accuracy import DATA
from harness import write
from start_scores import STUDIES, Study, score
from unmask.api.selecting import select
from unmask.api.synthesis import synth
from unmask.apps.curve_draws import find_kinds, order_images
from unmask.apps.curve_table import bootstrap_interval
from unmask.data.pairs import Pair
from unmask.infer.load import load_predictor
from unmask.io import open_image, open_labels
from unmask.training.precision import supported_precisions

# Images that `synth --like` draws.
_DRAWN = 200
# Pieces along each axis of the one training volume of a set.
_PIECES = {"mito_sbem_nc": (1, 2, 2), "plant_nuclei_3d_mini": (2, 2, 2)}


@dataclass(frozen=True)
class Arm:
    """One training, repeated for every draw.

    Attributes:
        set: its data set.
        count: labeled images, or patients; 0: none.
        init: the initial weights.
        updates: 0: the initial weights are the model.
        images: drawn at random by kinds, chosen by `unmask select`, or drawn by `synth --like`.
        unlabeled: learns from all other training images too.
    """

    set: str
    count: int
    init: str
    updates: int
    images: Literal["random", "selected", "synthetic"] = "random"
    unlabeled: bool = False

    def __str__(self) -> str:
        """What a row of the table calls it."""
        weights = "random weights" if self.init == "none" else self.init
        chosen = {"random": "", "selected": "selected ", "synthetic": ""}[self.images]
        more = " and unlabeled images" if self.unlabeled else ""
        drawn = " trained on images of synth --like" if self.images == "synthetic" else ""
        return f"{self.count} {chosen}labels{more}, {weights}{drawn}"


def _against_more(
    name: str, counts: Sequence[int], factor: int, updates: int, **more: Any
) -> list[tuple[Arm, Arm]]:
    """Start weights with n labels against random weights with ``factor`` times as many."""
    init, scratch = more.get("init", "phantoms2d"), more.get("scratch", updates)
    return [
        (Arm(name, count, init, updates), Arm(name, count * factor, "none", scratch))
        for count in counts
    ]


_NUCLEI = "dsb2018_nuclei"
_FOUR = Arm(_NUCLEI, 4, "phantoms2d", 600)
COMPARISONS: list[tuple[Arm, Arm]] = [
    *_against_more(_NUCLEI, (1, 2, 4, 8), 4, 600, scratch=1200),
    *_against_more("usiigaci_phase", (1, 2, 4), 1, 400),
    *_against_more("germline_nuclei", (1, 2, 4), 1, 400),
    *_against_more("worms_bbbc010", (1, 2, 4), 1, 400),
    *_against_more("bacteria_dapi", (1, 2), 1, 400),
    *(
        (Arm(name, 0, "phantoms2d", 400, "synthetic"), Arm(name, 0, "phantoms2d", 0))
        for name in (
            _NUCLEI,
            "usiigaci_phase",
            "germline_nuclei",
            "worms_bbbc010",
            "bacteria_dapi",
        )
    ),
    (Arm(_NUCLEI, 4, "phantoms2d", 600, "selected"), _FOUR),
    (Arm(_NUCLEI, 4, "phantoms2d", 600, "selected"), Arm(_NUCLEI, 8, "phantoms2d", 600)),
    (Arm(_NUCLEI, 4, "phantoms2d", 600, unlabeled=True), _FOUR),
    (
        Arm(_NUCLEI, 4, "phantoms2d", 600, "selected", unlabeled=True),
        Arm(_NUCLEI, 64, "none", 1200),
    ),
    *_against_more("isbi2012_em", (1, 2, 5), 2, 400),
    *_against_more("cardiac_cine_mri", (1, 2, 4), 2, 400),
    *_against_more("superalloy_sem", (1, 2), 2, 400),
    *_against_more("hippocampus_mri", (2, 4, 8), 2, 400, init="phantoms3d"),
    *(pair for name in _PIECES for pair in _against_more(name, (1, 2), 2, 400, init="phantoms3d")),
]
SETS = tuple(dict.fromkeys(ours.set for ours, _ in COMPARISONS))


def arms_of(sets: Sequence[str], first: int | None) -> list[Arm]:
    """The arms of the ``first`` comparisons of each set."""
    compared = [[pair for pair in COMPARISONS if pair[0].set == name][:first] for name in sets]
    return [arm for pairs in compared for pair in pairs for arm in pair]


def _cut(name: str, out: Path) -> tuple[Path, Path]:
    """Folders of the pieces of a set of one volume, for training and for validation."""
    (source,) = (DATA / name / "train" / "images").iterdir()
    pieces, found = _PIECES[name], (out / "train", out / "val")
    for folder in ("images", "labels"):
        values = tifffile.imread(source.parents[1] / folder / source.name)
        size = [n // count for n, count in zip(values.shape, pieces, strict=True)]
        own = (DATA / name / "val").is_dir()
        for cell in np.ndindex(*pieces):
            box = tuple(slice(i * n, (i + 1) * n) for i, n in zip(cell, size, strict=True))
            # Without a val part, the far half along the first axis validates.
            part = found[0 if own or cell[0] == 0 else 1] / folder
            part.mkdir(parents=True, exist_ok=True)
            target = part / f"{'-'.join(map(str, cell))}.tif"
            tifffile.imwrite(target, values[box], ome=True, metadata={"axes": "ZYX"})
        if own:
            found[1].mkdir(exist_ok=True)
            shutil.copytree(DATA / name / "val" / folder, found[1] / folder, dirs_exist_ok=True)
    return found


@lru_cache
def draw_images(name: str, draw: int, folder: Path) -> list[list[Path]]:
    """Training images in the order of the draw; the slices of a patient stay together."""
    ndim = STUDIES.get(name, Study()).ndim
    groups: dict[str, list[Path]] = {}
    for path in sorted((folder / "images").iterdir()):
        whole = path.name.partition("-IM")[0] if name == "cardiac_cine_mri" else path.name
        groups.setdefault(whole, []).append(path)
    pairs = [
        Pair(
            name=path.name,
            image=open_image(path, ndim=ndim),
            labels=open_labels(path.parents[1] / "labels" / path.name, ndim=ndim),
        )
        for path, *_ in groups.values()
    ]
    members = list(groups.values())
    return [members[index] for index in order_images(find_kinds(pairs), draw)]


def find_images(arm: Arm, draw: int, out: Path) -> list[Path] | None:
    """The labeled images of an arm; None if the set has too few."""
    train = DATA / arm.set / "train" / "images"
    if arm.images == "synthetic":
        drawn = synth(train, out=out / "drawn", count=_DRAWN, seed=draw, overwrite=True)
        return sorted((drawn.folder / "images").iterdir())
    if arm.images == "selected":
        return [Path(each.source) for each in select(train, count=arm.count, seed=draw)]
    folder = _cut(arm.set, out / "pieces")[0] if arm.set in _PIECES else train.parent
    order = draw_images(arm.set, draw, folder)
    return None if arm.count > len(order) else [p for group in order[: arm.count] for p in group]


def train(
    arm: Arm, draw: int, images: Sequence[Path], out: Path, settings: Sequence[str] = ()
) -> Path | str:
    """Train one arm; its model. What an arm does not name is equal for all but for ``settings``."""
    if arm.updates == 0:
        return arm.init
    study = STUDIES.get(arm.set, Study())
    given: dict[str, Any] = {
        "images": list(images),
        "labels": [path.parents[1] / "labels" / path.name for path in images],
    }
    recipe = study.preset or unmask.plan(**given, init=arm.init, settings=study.settings)
    run = unmask.train(
        recipe,
        **given,
        out=out / "run",
        init=arm.init,
        unlabeled=DATA / arm.set / "train" / "images" if arm.unlabeled else None,
        settings=[
            *study.settings,
            f"train.steps={arm.updates}",
            "train.warmup=50",
            *_rate(study, arm),
            "train.ema=0.99",
            f"train.precision={supported_precisions('cpu')[-1]}",
            "train.validate_every=0",
            "train.save_every=1000000",
            "data.holdout=0",
            f"train.seed={draw}",
            *settings,
        ],
    )
    return run.model


def _rate(study: Study, arm: Arm) -> list[str]:
    """Large steps from random weights, small ones where the start knows the task; or as planned."""
    if study.ndim > 2 or study.preset not in ("", "cells") or arm.init == "none":
        return ["train.lr=0.002"]
    return ["train.lr=0.0005"] if study.preset else []


def measure(arm: Arm, draw: int, scratch: Path) -> dict[str, Any] | None:
    """Train and score one arm in a new folder; None if the set has too few images."""
    shutil.rmtree(scratch, ignore_errors=True)
    used = time.process_time()
    images = find_images(arm, draw, scratch)
    if images is None:
        return None
    model = train(arm, draw, images, scratch)
    seconds = round(time.process_time() - used, 1)
    part = scratch / "pieces" / "val" if arm.set in _PIECES else None
    result = {**score(model, arm.set, part), "train_seconds": seconds}
    if arm.updates and load_predictor(model).fit:
        result["without_fit"] = score(model, arm.set, part, ["infer.fit=false"])
    return result


def read_rows(out: Path) -> dict[tuple[Arm, int], dict[str, Any]]:
    """Results of finished trainings by arm and draw."""
    file = out / "rows.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {(Arm(**row["arm"]), row["draw"]): row["result"] for row in rows}


def run(asked: argparse.Namespace) -> None:
    """Do what is missing, draw after draw, until the time is over."""
    asked.out.mkdir(parents=True, exist_ok=True)
    done, began = set(read_rows(asked.out)), time.monotonic()
    scratch = asked.out / "current"
    for draw in range(asked.first_draw, asked.first_draw + asked.draws):
        for arm in arms_of(asked.sets or SETS, asked.first):
            if (arm, draw) in done:
                continue
            if time.monotonic() - began > asked.hours * 3600:
                return
            result = measure(arm, draw, scratch)
            if result is None:
                continue
            with (asked.out / "rows.jsonl").open("a") as stream:
                row = {"arm": asdict(arm), "draw": draw, "result": result}
                stream.write(json.dumps(row) + "\n")
            print(arm.set, arm, draw, result, flush=True)
            done.add((arm, draw))


def compare(out: Path) -> Iterator[dict[str, Any]]:
    """A row per comparison and metric: means, and the paired differences of the draws."""
    rows = read_rows(out)
    for ours, peer in COMPARISONS:
        draws = [draw for arm, draw in rows if arm == ours and (peer, draw) in rows]
        for metric in STUDIES.get(ours.set, Study()).metrics if draws else ():
            values = [(rows[ours, draw][metric], rows[peer, draw][metric]) for draw in draws]
            differences = [a - b for a, b in values]
            plain = [_without_fit([rows[arm, draw] for draw in draws], metric)
                     for arm in (ours, peer)]  # fmt: skip
            at_size = f"; without infer.fit {plain[0]} and {plain[1]}" if all(plain) else ""
            yield {
                "what": f"{ours.set}: {ours}; against {peer}",
                "ours": statistics.fmean(a for a, _ in values),
                "peer": statistics.fmean(b for _, b in values),
                "unit": metric,
                "note": f"{_describe(differences)}; {ours.updates} and {peer.updates} updates"
                f"{at_size}",
            }


def _without_fit(results: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Mean of images that are not fitted to the model; "" if some result has none."""
    values = [result["without_fit"][metric] for result in results if "without_fit" in result]
    return f"{statistics.fmean(values):.3f}" if len(values) == len(results) else ""


def _describe(differences: Sequence[float]) -> str:
    """Mean difference, its bootstrap interval, and each draw."""
    if len(differences) == 1:
        return f"one draw, difference {differences[0]:+.3f}"
    low, high = bootstrap_interval(differences)
    mean = statistics.fmean(differences)
    draws = ", ".join(f"{value:+.3f}" for value in differences)
    return f"difference {mean:+.3f} ({low:+.3f} to {high:+.3f}); draws {draws}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--out", type=Path, default=Path("runs") / "few_labels")
    parser.add_argument("--sets", nargs="*", choices=SETS)
    parser.add_argument("--first", type=int, help="Comparisons per set, in their order.")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first-draw", type=int, default=0)
    parser.add_argument("--hours", type=float, default=24.0, help="Begin no training after them.")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "run":
        run(asked)
    else:
        write("few_labels", list(compare(asked.out)))


if __name__ == "__main__":
    main()
