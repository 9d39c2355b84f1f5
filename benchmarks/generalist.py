"""Train the model for cells and nuclei in 2D: from the synthetic start weights, on free labels.

    python benchmarks/generalist.py prepare --data DIR     images of all sets in one folder
    python benchmarks/generalist.py train --data DIR --out RUN [--resume]
    python benchmarks/generalist.py export --out RUN       the shipped model of a finished run

Only sets whose license allows shipped weights are used: `SOURCES` names set, license and how often
each image is taken, so that small sets count as much as large ones. Images of large objects are
stored at half their size. A share of synthetic crops in every batch keeps what the start weights
know. Scores on these sets are scores of sets that the model was trained on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unmask
from start_scores import score
from starts import LARGEST_BYTES, METRICS, SHIPPED, mean, updates_before
from unmask.checkpoint import load_model, save_model
from unmask.io import open_image, open_labels, save_image
from unmask.space.box import Box

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("UNMASK_DATA", ROOT.parent / "shared" / "data"))
RECIPE = Path(__file__).parent / "starts" / "generalist2d.yaml"
NAME = "generalist2d"
# Edge of the parts that large images are cut into.
_PART = 512


@dataclass(frozen=True)
class Source:
    """A set to train on.

    Attributes:
        license: of its images and labels.
        citation: their source.
        times: how often an image is taken.
        half: its images are also stored at half their size.
    """

    license: str
    citation: str
    times: int = 1
    half: bool = False


SOURCES = {
    "dsb2018_nuclei": Source(
        "CC0-1.0",
        "2018 Data Science Bowl, BBBC038v1 (Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7)",
    ),
    "usiigaci_phase": Source(
        "MIT",
        "Usiigaci (Tsai et al. 2019, SoftwareX 9, 230-237), (c) 2018 Okinawa Institute of Science "
        "& Technology Graduate University",
        3,
        half=True,
    ),
    "germline_nuclei": Source(
        "BSD-3-Clause", "Cellpose_germlineNuclei, (c) 2023 simonekoehler", 3, half=True
    ),
    "worms_bbbc010": Source(
        "CC0-1.0", "BBBC010v1 (Ljosa et al. 2012, Nature Methods 9, 637; Waehlby et al. 2012)", 4
    ),
    "bacteria_dapi": Source("MIT", "bacteria_segmentation, (c) 2024 Torellium", 15),
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


def export(run: Path) -> Path:
    """Write the shipped model of a finished run; its file."""
    model = load_model(run)
    recipe = dict(model.card["recipe"])
    # Images of a user may have another scale than those of the training.
    recipe["infer"] = {**recipe["infer"], "fit": True}
    card: dict[str, Any] = {
        "recipe": recipe,
        "license": "Apache-2.0",
        "data": {
            "name": "training images of five public sets of nuclei, cells, worms and bacteria, "
            "after the synthetic images of phantoms2d",
            "license": "CC0-1.0, MIT, BSD-3-Clause; synthetic images Apache-2.0",
            "source": "benchmarks/generalist.py",
            "citation": "; ".join(
                f"{source.citation}, {source.license}" for source in SOURCES.values()
            ),
        },
        "training": {
            "command": "python benchmarks/generalist.py train",
            "updates": [*updates_before(model.card), model.card["step"]],
        },
        "versions": model.card.get("versions", {}),
        "object_diameters": model.card["object_diameters"],
    }
    weights = {
        key: value.half() if value.is_floating_point() else value
        for key, value in model.weights.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.safetensors"
        save_model(file, weights, card)
        scores = {name: score(file, name) for name in SOURCES}
    card["figures"] = {
        "images": "mean over five sets, other images of the sets that it was trained on",
        "all": {key: mean(one[key] for one in scores.values()) for key in METRICS},
        "f1@0.5 by set": {name: one["f1@0.5"] for name, one in scores.items()},
    }
    target = SHIPPED / f"{NAME}.safetensors"
    save_model(target, weights, card)
    if target.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{target}: {target.stat().st_size} bytes are too many for a package.")
    return target


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("prepare", "train", "export"))
    parser.add_argument("--data", type=Path, help="folder of the prepared images")
    parser.add_argument("--out", type=Path, default=Path("runs") / "generalist2d")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--set", nargs="*", default=[])
    asked = parser.parse_args()
    if asked.what == "prepare":
        prepare(asked.data)
        return
    if asked.what == "export":
        print(export(asked.out))
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
