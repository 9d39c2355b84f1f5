"""Every backbone x decoder x task in 2D and 3D in other formats, and the speed of ONNX.

    python benchmarks/export.py [--pairs] [--packages] [--speed] [--objects DIR]

``--pairs`` records each backbone with each decoder and the heads of all tasks, and compares scores
at two image sizes and batches of 1 and 3. ``--packages`` exports model files of every backbone,
decoder and task as BioImage.IO packages, runs the tests of ``bioimageio.core``, and compares the
labels of a real image. ``--objects`` compares objects of real images by the shipped model
``nuclei``. ``--speed`` times that model on 1024 x 1024 pixels with one thread, interleaved, in CPU
seconds. Results: docs/results/export.json, one part at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness import RESULTS, interleave, row, write
from unmask import api
from unmask.build import build_segmenter
from unmask.checkpoint import save_model
from unmask.errors import RecipeError, UnmaskError
from unmask.exports import onnx, torchscript
from unmask.exports.network import make_exported
from unmask.exports.record import trace
from unmask.infer.load import load_predictor
from unmask.io import open_image
from unmask.lookup import Choice, build, find
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.recipe import load
from unmask.tasks import TASKS
from unmask.testing.base import build_part, small_options
from unmask.testing.decoder import fits, usual_backbone

CHANNELS = 2
SIZES = {2: ((1, 37, 29), (3, 23, 50)), 3: ((1, 9, 17, 13), (3, 12, 11, 29))}
TOLERANCE = 1e-4
_DATA = Path(os.environ.get("UNMASK_DATA", "../shared/data"))
# Real images of the packages: folder, crop, and the recipe that is changed.
_REAL = {
    2: ("dsb2018_nuclei/val/images", (96, 112), "cells"),
    3: ("fib25_em3d/val/images", (12, 40, 48), "cells3d"),
}


class AllTasks(nn.Module):
    """A backbone, a decoder and the head of every task, whose scores are one tensor.

    One graph of them takes a fifth of the time of one per task, which differ in their last layers.
    """

    def __init__(self, backbone: str, decoder: str, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.decoder = _trunk(backbone, decoder, ndim)
        self.tasks = [build_part(name, None, TASKS, "task", ndim=ndim) for name in TASKS]
        sizes = {"ndim": ndim, "width": self.decoder.width}
        self.heads = nn.ModuleList(
            build_part("linear", {}, HEADS, "head", channels=task.channels(), **sizes)
            for task in self.tasks
        )

    @property
    def segmenter(self) -> Any:
        """Its layers, which the message of a network that cannot be recorded names."""
        return SimpleNamespace(backbone=self.backbone, decoder=self.decoder, head=self.heads[0])

    def scores(self, image: Tensor) -> list[Tensor]:
        """Scores of each task, ``(B, S, *space)``."""
        size = tuple(image.shape[2:])
        features = self.decoder(self.backbone(image), size)
        logits = [head(features) for head in self.heads]
        whole = [each.expand(*each.shape[:2], *size) for each in logits]
        return [task.activate(each) for task, each in zip(self.tasks, whole, strict=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Scores of all tasks, ``(B, sum of S, *space)``."""
        return torch.cat(self.scores(image), 1)


def _trunk(backbone: str, decoder: str, ndim: int) -> tuple[Any, Any]:
    first = build_part(backbone, None, BACKBONES, "backbone", ndim=ndim, in_channels=CHANNELS)
    given = {"ndim": ndim, "channels": tuple(first.channels), "strides": first.strides}
    return first, build_part(decoder, None, DECODERS, "decoder", **given)


def pairs() -> Iterator[tuple[str, str, int]]:
    """All that fit each other."""
    for ndim in SIZES:
        for backbone in BACKBONES:
            names = (name for name in DECODERS if fits(name, backbone, ndim))
            yield from ((backbone, decoder, ndim) for decoder in names)


def differences(network: Any, ndim: int, folder: Path) -> dict[str, dict[str, float]]:
    """Largest difference of a score, for each format and task."""
    path = folder / "network.onnx"
    script = trace(network, CHANNELS, ndim)
    onnx.convert_trace(network, CHANNELS, ndim, path)
    runs = {
        "onnx": onnx.open_session(path),
        "torchscript": lambda image: script(torch.from_numpy(image)).numpy(),
    }
    found = {name: dict.fromkeys(TASKS, 0.0) for name in runs}
    for batch, *size in SIZES[ndim]:
        image = np.random.default_rng(0).random((batch, CHANNELS, *size), np.float32)
        with torch.no_grad():
            each = network.scores(torch.from_numpy(image))
            expected = torch.cat(each, 1).numpy()
            borders = np.cumsum([scores.shape[1] for scores in each])[:-1]
            for name, run in runs.items():
                off = np.split(np.abs(run(image) - expected), borders, axis=1)
                for task, values in zip(TASKS, off, strict=True):
                    found[name][task] = max(found[name][task], float(values.max()))
    return found


def compare_pairs(log: Path | None) -> list[dict[str, Any]]:
    """Largest differences of all combinations; prints each pair.

    Args:
        log: gets a line per pair; pairs that it has are not computed again.
    """
    lines = log.read_text("utf-8").splitlines() if log is not None and log.is_file() else []
    found: dict[str, Any] = dict(json.loads(line) for line in lines)
    with tempfile.TemporaryDirectory() as folder:
        for backbone, decoder, ndim in pairs():
            name = f"{backbone}+{decoder}+{ndim}D"
            if name in found:
                continue
            try:
                network = AllTasks(backbone, decoder, ndim).eval()
                found[name] = differences(network, ndim, Path(folder))
            except UnmaskError as error:
                found[name] = {"refused": str(error)}
            text = json.dumps([name, found[name]])
            print(text, flush=True)
            if log is not None:
                with log.open("a", encoding="utf-8") as file:
                    print(text, file=file)
    return [_row_of_pairs(found, form) for form in ("onnx", "torchscript")]


def _row_of_pairs(found: Mapping[str, Any], form: str) -> dict[str, Any]:
    values = {
        f"{name}, {task}": value
        for name, result in found.items()
        for task, value in result.get(form, {}).items()
    }
    above = [name for name, value in values.items() if value > TOLERANCE]
    refused = len(list(TASKS)) * sum("refused" in result for result in found.values())
    named = f" ({'; '.join(above[:6])})" if above else ""
    return {
        "what": f"small networks as {form}: largest difference from PyTorch",
        "ours": max(values.values()),
        "unit": "score",
        "note": f"{len(values)} combinations of backbone, decoder, task and axes; refused: "
        f"{refused}; above {TOLERANCE:g}: {len(above)}{named}",
    }


def chosen_files() -> Iterator[tuple[str, str, str, int]]:
    """Every backbone and every decoder in 2D and 3D; the tasks take turns."""
    usual = {(name, _usual_decoder(name)) for name in BACKBONES}
    usual |= {(usual_backbone(name), name) for name in DECODERS}
    tasks = list(TASKS)
    for ndim in SIZES:
        yield from (
            (*pair, tasks[(number + ndim) % len(tasks)], ndim)
            for number, pair in enumerate(sorted(usual))
        )


def _usual_decoder(backbone: str) -> str:
    return next(name for name in (backbone, "unet", *DECODERS) if _fits(name, backbone))


def _fits(decoder: str, backbone: str) -> bool:
    return decoder in DECODERS and all(fits(decoder, backbone, ndim) for ndim in SIZES)


def _small(name: str, table: Mapping[str, Any], kind: str, **given: Any) -> dict[str, Any]:
    """A part with small sizes if they fit each other, as `build_part` chooses."""
    options = small_options(find(name, table, kind), kind)
    try:
        build(Choice(name, options), table, kind, **given)
    except RecipeError:
        options = {}
    return {"name": name, **options}


def save_small(backbone: str, decoder: str, task: str, ndim: int, path: Path) -> None:
    """A model file with random weights."""
    first, _ = _trunk(backbone, decoder, ndim)
    given = {"ndim": ndim, "channels": tuple(first.channels), "strides": first.strides}
    model = {
        "backbone": _small(backbone, BACKBONES, "backbone", ndim=ndim, in_channels=1),
        "decoder": _small(decoder, DECODERS, "decoder", **given),
    }
    # Flows of random weights contradict each other; their objects are kept here.
    lenient = {"flow_error": 0} if task == "flows" else {}
    task_options = _small(task, TASKS, "task", ndim=ndim) | lenient
    _, size, preset = _REAL[ndim]
    recipe = load(preset).with_settings(
        [
            "data.channels=1",
            f"data.crop={list(size)}",
            *(f"model.{part}={json.dumps(options)}" for part, options in model.items()),
            f"task={json.dumps(task_options)}",
        ]
    )
    torch.manual_seed(0)
    weights = build_segmenter(recipe).state_dict()
    save_model(path, weights, {"recipe": recipe.model_dump(mode="json"), "license": "Apache-2.0"})


def compare_packages() -> list[dict[str, Any]]:
    """Export model files as packages, test them, and compare labels; prints each."""
    counts = {"written": 0, "equal": 0}
    names: list[str] = []
    differ: list[str] = []
    largest = 0.0
    for backbone, decoder, task, ndim in chosen_files():
        names.append(f"{backbone}+{decoder}+{task}+{ndim}D")
        with tempfile.TemporaryDirectory() as folder:
            model, file = Path(folder) / "model.safetensors", Path(folder) / "model.zip"
            try:
                save_small(backbone, decoder, task, ndim, model)
                done = api.export(model, format="bioimageio", out=file, check=True)
                assert done.comparison is not None
                labels = [_labels(path, ndim) for path in (model, file)]
            except UnmaskError as error:
                print(names[-1], error, flush=True)
                continue
            counts["written"] += 1
            same = bool((labels[0] == labels[1]).all())
            counts["equal"] += same
            differ += [] if same else [names[-1]]
            largest = max(largest, done.comparison.difference)
            objects = len(np.unique(labels[0])) - 1
            print(names[-1], done.comparison.difference, same, objects, flush=True)
    of = f"of {len(names)}; every backbone, decoder and task, 2D and 3D; random weights"
    named = f"; others: {', '.join(differ)}" if differ else ""
    kinds = {"written": "that pass bioimageio.core", "equal": "with the labels of a real image"}
    return [
        {
            "what": f"BioImage.IO packages {kinds[name]}",
            "ours": count,
            "unit": "packages",
            "note": of + (named if name == "equal" else f"; largest difference {largest:.1e}"),
        }
        for name, count in counts.items()
    ]


def _labels(model: Path, ndim: int) -> np.ndarray:
    """Labels of a part of a real image, in float32."""
    folder, size, _ = _REAL[ndim]
    path = sorted(each for each in (_DATA / folder).iterdir())[0]
    image = open_image(path).read()[(slice(1), *(slice(length) for length in size))]
    return load_predictor(model, ["infer.precision='32'"]).predict(image).labels


def compare_objects(images: list[Path]) -> list[dict[str, Any]]:
    """Number of real images whose labels are all the same."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "nuclei.onnx"
        api.export("nuclei", format="onnx", out=file)
        exported = load_predictor(file)
        reference = load_predictor("nuclei", ["infer.precision='32'"])
        equal = 0
        for path in images:
            image = open_image(path)
            labels = [each.predict(image).labels for each in (reference, exported)]
            equal += bool((labels[0] == labels[1]).all())
    note = f"of {len(images)}"
    what = "nuclei as onnx: images whose labels are all equal"
    return [{"what": what, "ours": equal, "unit": "images", "note": note}]


def compare_speed(repeats: int = 3) -> list[dict[str, Any]]:
    """CPU seconds of one image of 1024 x 1024 pixels with one thread, float32."""
    torch.set_num_threads(1)
    network = make_exported(load_predictor("nuclei"))
    image = np.random.default_rng(0).random((1, 3, 1024, 1024), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"nuclei.{name}" for name in ("onnx", "pt")}
        api.export("nuclei", format="onnx", out=files["onnx"])
        api.export("nuclei", format="torchscript", out=files["pt"])
        runs = {
            "onnx": onnx.open_session(files["onnx"]),
            "torchscript": torchscript.open_script(files["pt"]),
        }

        def torch_alone() -> None:
            with torch.inference_mode():
                network(torch.from_numpy(image))

        given = {name: (lambda run=run: run(image)) for name, run in runs.items()}
        seconds = interleave({"torch": torch_alone, **given}, repeats)
    note = "network alone, float32, CPU seconds; peer: PyTorch"
    return [
        row(
            f"nuclei as {name}, 1024 x 1024, one thread",
            {"ours": seconds[name], "peer": seconds["torch"]},
            note=note,
        )
        for name in runs
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--log", type=Path, help="of --pairs: a stopped run resumes from it")
    parser.add_argument("--packages", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--objects", type=Path, metavar="DIR")
    parser.add_argument("--most", type=int, default=20, help="images of --objects")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if given.speed:
        rows += compare_speed()
    if given.objects:
        rows += compare_objects(sorted(given.objects.iterdir())[: given.most])
    if given.packages:
        rows += compare_packages()
    if given.pairs:
        rows += compare_pairs(given.log)
    path = RESULTS / "export.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    renewed = {each["what"] for each in rows}
    write("export", [each for each in stored if each["what"] not in renewed] + rows)


if __name__ == "__main__":
    main()
