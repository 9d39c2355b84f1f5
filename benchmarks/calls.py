"""Calls between files of unmask: how many layers a request passes through.

A call counts if Python code of one file of ``src/unmask`` calls a function of another one directly.
Resumed generators, the bodies of modules and classes, and calls through other packages (``partial``
counts, a PyTorch module called by PyTorch does not) are left out. Each work runs twice in this
process, and the second run counts: caches are warm and everything is imported. The counts are the
same on every machine.

    python benchmarks/calls.py              # the counts
    python benchmarks/calls.py --top 30     # and the functions that are called most
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import numpy as np

import unmask
from unmask.api.learning import train
from unmask.api.prediction import predict, predict_files
from unmask.io import save_image

PACKAGE = str(Path(unmask.__file__).parent) + "/"
# Networks and crops are small: their size does not change the number of calls.
SMALL = [
    "model.backbone={name: resunet, width: 4, depth: 3}",
    "data.crop=[32, 32]",
    "data.channels=1",
    "train.steps=2",
    "train.batch_size=2",
]
BLOCKS = ["infer.block=[128, 128]", "infer.tile=[128, 128]", "infer.overlap=0"]
Calls = Counter[tuple[str, str, str]]


def count_calls(work: Callable[[], object]) -> Calls:
    """Calls between files of the package: (file of the caller, file, function)."""
    calls: Calls = Counter()

    def profile(frame: FrameType, event: str, _: object) -> None:
        code, caller = frame.f_code, frame.f_back
        if event != "call" or caller is None or not code.co_filename.startswith(PACKAGE):
            return
        source = caller.f_code.co_filename
        # The argument of RESUME is 0 where a function starts, and larger after a yield.
        resumed = code.co_code[frame.f_lasti + 1] & 3
        if source == code.co_filename or not source.startswith(PACKAGE) or resumed:
            return
        if code.co_name != "<module>":
            file = code.co_filename.removeprefix(PACKAGE)
            calls[source.removeprefix(PACKAGE), file, code.co_qualname] += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def make_images(folder: Path) -> tuple[Path, Path]:
    """Two images of round objects, and their labels."""
    y, x = np.mgrid[:256, :256]
    for number in range(2):
        centers = np.random.default_rng(number).integers(20, 236, (12, 2))
        labels = np.zeros((256, 256), np.uint16)
        for label, (cy, cx) in enumerate(centers, 1):
            labels[np.hypot(y - cy, x - cx) < 10] = label
        save_image(folder / "images" / f"{number}.tif", (20 + 180 * (labels > 0)).astype(np.uint8))
        save_image(folder / "labels" / f"{number}.tif", labels)
    return folder / "images", folder / "labels"


def works(folder: Path) -> dict[str, Callable[[], object]]:
    """The works that are counted, each with a new folder for its results."""
    images, labels = make_images(folder)
    file = images / "0.tif"

    def new() -> Path:
        return Path(tempfile.mkdtemp(dir=folder)) / "out"

    def quiet(_: str) -> None:
        pass

    files = partial(predict_files, "nuclei", file, say=quiet)
    given = {"images": images, "labels": labels, "settings": SMALL, "init": None}
    return {
        "predict, one image": partial(predict, "nuclei", file),
        "predict, one file": lambda: files(out=new()),
        "predict, one file in 4 blocks": lambda: files(out=new(), settings=BLOCKS),
        "train, two updates": lambda: train("cells", out=new(), **given),
    }


def main() -> None:
    """Count the calls of all works."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--top", type=int, default=0, help="functions to list per work")
    parser.add_argument("--only", default="", help="part of the name of the works to count")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for what, work in works(Path(name)).items():
            if options.only not in what:
                continue
            work()
            calls = count_calls(work)
            print(f"{what}: {calls.total()}", flush=True)
            for (source, file, function), number in calls.most_common(options.top):
                print(f"  {number:4}  {source} -> {file}: {function}")


if __name__ == "__main__":
    main()
