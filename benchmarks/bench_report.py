"""The HTML report of an evaluation of 200 images: size and processor time of the whole command.

Synthetic nuclei of 512^2 with predictions that miss, split and join some of them.
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

IMAGES = 200
SIZE = (512, 512)


def make_images(folder: Path) -> None:
    """Images, labels, and predictions that differ from them; every tenth image differs."""
    phantom = nuclei(SIZE, rng=np.random.default_rng(IMAGES))
    for number in range(IMAGES):
        rng = np.random.default_rng(number)
        if number % 10 == 0:
            phantom = nuclei(SIZE, rng=rng)
        image, labels = phantom.image, phantom.labels.astype(np.uint16)
        turned = np.rot90(image, number % 4, axes=(-2, -1)), np.rot90(labels, number % 4)
        ids = np.unique(labels)[1:]
        other = rng.permutation(int(ids.max()) + 1)
        lookup = np.arange(int(ids.max()) + 1)
        lookup[other[: len(ids) // 8]] = 0
        lookup[other[-len(ids) // 8 :]] = other[0]
        name = f"{number:03d}.tif"
        save_image(folder / "images" / name, np.ascontiguousarray(turned[0]))
        save_image(folder / "labels" / name, np.ascontiguousarray(turned[1]))
        predicted = lookup[turned[1]].astype(np.uint16)
        save_image(folder / "predicted" / name, np.ascontiguousarray(predicted))


def main() -> None:
    """Make, evaluate, and write the result."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_images(folder)
        command = ["-m", "unmask", "evaluate", "--truth", "labels", "--predicted", "predicted"]
        command += ["--images", "images", "--metrics", "f1@0.5,ap,aji", "--out", "report.html"]
        before = os.times()
        subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)
        after = os.times()
        user = after.children_user - before.children_user
        seconds = user + after.children_system - before.children_system
        size = (folder / "report.html").stat().st_size / 1e6
    what = f"evaluate --images --out report.html, {IMAGES} images of 512^2"
    rows = [
        {"what": what, "ours": seconds, "unit": "s", "note": "processor time; goal: 60 s"},
        {"what": what, "ours": size, "unit": "MB", "note": "size of the page; goal: 20 MB"},
    ]
    write("report", rows)


if __name__ == "__main__":
    main()
