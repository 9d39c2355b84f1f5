"""Train the model for cells and nuclei in 2D: from the synthetic start weights, on free labels.

    python benchmarks/generalist.py prepare --data DIR     images of all sets in one folder
    python benchmarks/generalist.py train --data DIR --out RUN [--resume]

Only sets whose license allows shipped weights are used: `SOURCES` names set, license and how often
each image is taken, so that small sets count as much as large ones. Images of large objects are
stored at half their size. A share of synthetic crops in every batch keeps what the start weights
know. Scores on these sets are scores of sets that the model was trained on.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import unmask
from unmask.io import open_image, open_labels, save_image
from unmask.space.box import Box

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))
RECIPE = Path(__file__).parent / "starts" / "generalist2d.yaml"
# Edge of the parts that large images are cut into.
_PART = 512


@dataclass(frozen=True)
class Source:
    """A set to train on.

    Attributes:
        license: of its images and labels.
        times: how often an image is taken.
        half: its images are also stored at half their size.
    """

    license: str
    times: int = 1
    half: bool = False


SOURCES = {
    "dsb2018_nuclei": Source("CC0-1.0"),
    "usiigaci_phase": Source("MIT", 3, half=True),
    "germline_nuclei": Source("BSD-3-Clause", 3, half=True),
    "worms_bbbc010": Source("CC0-1.0", 4),
    "bacteria_dapi": Source("MIT", 15),
}


def prepare(data: Path) -> None:
    """Write the training images of all sets, in parts of at most 512 x 512 pixels."""
    for folder in ("images", "labels"):
        (data / folder).mkdir(parents=True, exist_ok=True)
    for name, source in SOURCES.items():
        count = 0
        for file in sorted((DATA / name / "train" / "images").iterdir()):
            truth = next((file.parents[1] / "labels").glob(f"{file.name.split('.')[0]}.*"))
            image, labels = open_image(file, ndim=2), open_labels(truth, ndim=2)
            for step in (1, 2) if source.half else (1,):
                count += _write_parts(
                    data, f"{name}_{file.stem}_{step}", image, labels, step, source
                )
        print(name, count, flush=True)


def _write_parts(
    data: Path,
    name: str,
    image: unmask.io.Image,
    labels: unmask.io.Image,
    step: int,
    source: Source,
) -> int:
    """Write the parts of one image, at its size divided by ``step``; returns their number."""
    written = 0
    edge = _PART * step
    for y in range(0, image.shape[1], edge):
        for x in range(0, image.shape[2], edge):
            stop = (min(y + edge, image.shape[1]), min(x + edge, image.shape[2]))
            box = Box((y, x), stop)
            values, ids = image.read(box), labels.read(box)[0]
            if not ids.any():
                continue
            if step > 1:
                even = tuple(n // step * step for n in ids.shape)
                values = values[:, : even[0], : even[1]].astype(float)
                shape = (len(values), even[0] // step, step, even[1] // step, step)
                values = values.reshape(shape).mean((2, 4)).round().astype(image.dtype)
                ids = ids[: even[0] : step, : even[1] : step]
            for number in range(source.times):
                file = f"{name}_{y}_{x}_{number}.tif"
                save_image(data / "images" / file, values, axes="CYX")
                save_image(data / "labels" / file, ids, axes="YX")
                written += 1
    return written


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "train"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs") / "generalist2d")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--set", nargs="*", default=[])
    asked = parser.parse_args()
    if asked.what == "prepare":
        prepare(asked.data)
        return
    run = unmask.train(
        RECIPE,
        images=asked.data / "images",
        labels=asked.data / "labels",
        out=asked.out,
        init="phantoms",
        replay_images="phantoms",
        settings=asked.set,
        resume=asked.resume,
    )
    print(run)


if __name__ == "__main__":
    main()
