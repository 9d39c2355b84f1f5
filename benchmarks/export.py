"""Every backbone x decoder x task in 2D and 3D as ONNX and TorchScript, and the speed of ONNX.

    python benchmarks/export.py [--pairs] [--speed] [--objects DIR [--most N]]

``--pairs`` exports small networks and compares scores at two image sizes and batches of 1 and 3.
``--objects`` compares objects of real images. ``--speed`` times the shipped model ``nuclei`` on
1024 x 1024 pixels with one thread, interleaved, in CPU seconds. Results: docs/results/export.json,
one part at a time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import RESULTS, interleave, row, write
from unmask import api
from unmask.errors import UnmaskError
from unmask.exports import onnx, torchscript
from unmask.exports.network import Exported, make_exported
from unmask.exports.record import trace
from unmask.infer.load import load_predictor
from unmask.io import open_image
from unmask.models import BACKBONES, DECODERS, HEADS
from unmask.tasks import TASKS
from unmask.tasks.segmenter import Segmenter
from unmask.testing.base import build_part
from unmask.testing.decoder import fits

CHANNELS = 2
RECORDED = {2: (41, 59), 3: (9, 25, 35)}
SIZES = {2: ((1, 37, 29), (3, 23, 50)), 3: ((1, 9, 17, 13), (3, 12, 11, 29))}


def combinations() -> Iterator[tuple[str, str, str, int]]:
    """All that fit each other."""
    for ndim in RECORDED:
        for backbone in BACKBONES:
            for decoder in DECODERS:
                if fits(decoder, backbone, ndim):
                    yield from ((backbone, decoder, task, ndim) for task in TASKS)


def build(backbone: str, decoder: str, task: str, ndim: int) -> Exported:
    """A small network."""
    torch.manual_seed(0)
    chosen = build_part(task, None, TASKS, "task", ndim=ndim)
    first = build_part(backbone, None, BACKBONES, "backbone", ndim=ndim, in_channels=CHANNELS)
    given = {"ndim": ndim, "channels": tuple(first.channels), "strides": first.strides}
    second = build_part(decoder, None, DECODERS, "decoder", **given)
    sizes = {"ndim": ndim, "width": second.width, "channels": chosen.channels()}
    head = build_part("linear", {}, HEADS, "head", **sizes)
    segmenter = Segmenter(first, second, head, task=chosen, ndim=ndim)
    return Exported(segmenter, segmenter.task).eval()


def differences(network: Exported, ndim: int, folder: Path) -> dict[str, float]:
    """Largest difference of a score, for each format."""
    example = torch.rand(2, CHANNELS, *RECORDED[ndim])
    path = folder / "network.onnx"
    onnx.convert_trace(network, CHANNELS, ndim, path)
    script = trace(network, example)
    runs = {
        "onnx": onnx.open_session(path),
        "torchscript": lambda image: script(torch.from_numpy(image)).numpy(),
    }
    found = dict.fromkeys(runs, 0.0)
    for batch, *size in SIZES[ndim]:
        image = np.random.default_rng(0).random((batch, CHANNELS, *size), np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(image)).numpy()
            for name, run in runs.items():
                found[name] = max(found[name], float(np.abs(run(image) - expected).max()))
    return found


def compare_pairs() -> list[dict[str, Any]]:
    """Largest differences of all combinations; prints each."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone, decoder, task, ndim in combinations():
            result = {"backbone": backbone, "decoder": decoder, "task": task, "axes": ndim}
            try:
                result |= differences(build(backbone, decoder, task, ndim), ndim, Path(folder))
            except UnmaskError as error:
                result["refused"] = str(error)
            print(result, flush=True)
            found.append(result)
    refused = sum("refused" in each for each in found)
    note = f"{len(found)} combinations of backbone, decoder, task and axes, {refused} refused"
    return [
        {
            "what": f"small networks as {name}: largest difference",
            "ours": max(each.get(name, 0.0) for each in found),
            "unit": "score",
            "note": note,
        }
        for name in ("onnx", "torchscript")
    ]


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
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--objects", type=Path, metavar="DIR")
    parser.add_argument("--most", type=int, default=20, help="images of --objects")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if given.speed:
        rows += compare_speed()
    if given.objects:
        rows += compare_objects(sorted(given.objects.iterdir())[: given.most])
    if given.pairs:
        rows += compare_pairs()
    path = RESULTS / "export.json"
    stored = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    renewed = {each["what"] for each in rows}
    write("export", [each for each in stored if each["what"] not in renewed] + rows)


if __name__ == "__main__":
    main()
