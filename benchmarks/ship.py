"""From a training run to a model that the package ships: rounded, described, measured.

    python benchmarks/ship.py nuclei RUN_OR_MODEL

Weights are stored in half precision, which halves the file; figures of the validation images are
measured before and after, and a model that loses by it is refused. What the file says about itself
replaces the fingerprint of the training files, which names paths of the machine they lay on. The
recipe in it is that of the run with the settings below.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from accuracy import STUDIES, measure
from unmask.checkpoint import load_model, save_model
from unmask.recipe import parse

SHIPPED = Path(__file__).resolve().parents[1] / "src" / "unmask" / "shipped"
LARGEST_BYTES = 16 << 20
LARGEST_LOSS = 0.002


@dataclass(frozen=True)
class Story:
    """What a shipped model is and where it comes from."""

    study: str
    settings: tuple[str, ...]
    description: str
    images: str
    data: Mapping[str, str]
    command: str
    license: str = "Apache-2.0"


STORIES = {
    "nuclei": Story(
        study="nuclei",
        settings=("task.flow_error=0.8", "infer.adapt_tile=true"),
        description="nuclei in 2D microscopy: fluorescence, stained tissue, bright field",
        images="86 validation images of dsb2018_nuclei",
        data={
            "name": "Data Science Bowl 2018, stage 1 (BBBC038v1), 463 training images",
            "license": "CC0-1.0",
            "source": "https://bbbc.broadinstitute.org/BBBC038",
            "citation": "Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7",
        },
        command="unmask train --preset cells --images train/images --labels train/labels "
        "--val-images val/images --val-labels val/labels --set train.validate_every=425",
    )
}


def ship(name: str, source: Path) -> Path:
    """Write the shipped model; its file."""
    story = STORIES[name]
    model = load_model(source)
    recipe = parse(model.card["recipe"], source=f"{source}: recipe inside")
    recipe = recipe.with_settings([*story.settings, f"name={name}"])
    card: dict[str, Any] = {
        "recipe": recipe.model_dump(mode="json") | {"description": story.description},
        "license": story.license,
        "data": dict(story.data),
        "training": {
            "command": story.command,
            **{key: model.card[key] for key in ("step", "seconds") if key in model.card},
        },
        "versions": model.card.get("versions", {}),
        **{key: model.card[key] for key in ("object_diameters",) if key in model.card},
    }
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in model.weights.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        figures = []
        for stem, weights in (("single", model.weights), ("half", half)):
            file = Path(folder) / f"{stem}.safetensors"
            save_model(file, weights, card)
            figures.append(measure(STUDIES[story.study], [file]))
            print(f"{stem}: {figures[-1]}", flush=True)
    first = STUDIES[story.study].metrics[0]
    lost = figures[0]["all"][first] - figures[1]["all"][first]
    if lost > LARGEST_LOSS:
        raise SystemExit(f"{name}: half precision costs {lost:.4f} of {first}. Ship it in float32.")
    rounded = {
        kind: {metric: round(value, 4) for metric, value in values.items()}
        for kind, values in figures[1].items()
    }
    card["figures"] = {"images": story.images, **rounded}
    target = SHIPPED / f"{name}.safetensors"
    save_model(target, half, card)
    if target.stat().st_size > LARGEST_BYTES:
        raise SystemExit(f"{target}: {target.stat().st_size} bytes are too many for a package.")
    return target


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=sorted(STORIES))
    parser.add_argument("model", type=Path, help="run folder or model file")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(ship(asked.name, asked.model))


if __name__ == "__main__":
    main()
