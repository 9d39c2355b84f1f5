"""A movie through a 2D model: passes of the network, time per frame, and peak memory.

Each length runs in a process of its own with the shipped model for nuclei; the peak is that of the
kernel. The frames are images of nuclei drawn by `unmask.phantoms`; the peer of the memory row is a
movie of 5 frames.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness import write

LENGTHS = (5, 50)
EDGE = 512


def make_movie(path: Path, length: int) -> None:
    """Write a movie ``TYX`` whose frames differ; the cells of a scene move by a pixel per frame."""
    import tifffile

    from unmask.phantoms import draw_one

    scene = draw_one("nuclei", (EDGE, EDGE), seed=3).image[0]
    frames = np.stack([np.roll(scene, frame, axis=1) for frame in range(length)])
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})


def predict_movie(path: Path) -> None:
    """Predict a movie; print frames, calls of the network, CPU seconds, and the peak in MiB."""
    import torch

    from unmask.infer.load import load_predictor
    from unmask.infer.planes import PlanesWork, predict_planes
    from unmask.io.stacks import open_stack

    torch.set_num_threads(1)
    predictor = load_predictor("nuclei")
    windows: list[int] = []
    network = predictor.segmenters[0].get_submodule("backbone")
    network.register_forward_pre_hook(lambda _, given: windows.append(len(given[0])))
    stack = open_stack(path, ndim=2)
    if stack is None:
        raise RuntimeError(f"{path} is not read as a movie.")
    began = time.process_time()
    found = predict_planes(PlanesWork(predictor, stack), path.with_name("labels.ome.zarr"))
    seconds = time.process_time() - began
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    print(found["positions"], sum(windows), seconds, int(peak) / 1024)


def measured(length: int) -> tuple[int, float, float]:
    """Calls of the network, CPU seconds and peak of a movie of ``length`` frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "movie.tif"
        make_movie(path, length)
        done = subprocess.run(
            [sys.executable, __file__, str(path)], capture_output=True, text=True, check=True
        )
    frames, windows, seconds, peak = done.stdout.split()[-4:]
    if int(frames) != length:
        raise RuntimeError(f"Expected {length} frames, found {frames}.")
    return int(windows), float(seconds), float(peak)


def main() -> None:
    """Measure movies of several lengths."""
    rows: list[dict[str, Any]] = []
    found = {length: measured(length) for length in LENGTHS}
    first = found[LENGTHS[0]]
    for length, (windows, seconds, peak) in found.items():
        rows.append({
            "what": f"movie of {length} x {EDGE}^2, nuclei: CPU time per frame",
            "ours": seconds / length,
            "unit": "s",
            "note": f"{windows / length:g} windows of the network per frame",
        })  # fmt: skip
        rows.append({
            "what": f"movie of {length} x {EDGE}^2: peak memory",
            "ours": peak,
            "peer": first[2],
            "ratio": first[2] / peak,
            "unit": "MiB",
            "note": f"peer: {LENGTHS[0]} frames",
        })  # fmt: skip
    write("movie", rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        predict_movie(Path(sys.argv[1]))
    else:
        main()
