"""The shipped nuclei model on a folder of images, compared with Cellpose 3.1.1.3.

    python benchmarks/bench_peers.py --peer-python .venv-peer/bin/python

Both run end to end in a process of their own, with one thread, in turns; CPU seconds of the whole
process count, imports, reading, decoding and writing included. Cellpose's weights cannot be
downloaded everywhere, so its network has random ones. They give no objects, so that the time of
its decoding is missing: that is in Cellpose's favor. Images are every second one of the validation
images of dsb2018_nuclei (UNMASK_DATA).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accuracy import DATA
from harness import row, write

PEER = """
import sys
from pathlib import Path
import numpy as np, tifffile, torch
torch.set_num_threads(1)
from cellpose import io, models
from cellpose.resnet_torch import CPnet
weights = Path(sys.argv[2]) / "random.pt"
torch.manual_seed(0)
torch.save(CPnet([2, 32, 64, 128, 256], 3, 3, max_pool=True, diam_mean=17.0).state_dict(), weights)
model = models.CellposeModel(gpu=False, pretrained_model=str(weights))
for path in sorted(Path(sys.argv[1]).iterdir()):
    image = io.imread(str(path))
    flows = model.eval(image, channels=[0, 0], compute_masks=False)[1]
    tifffile.imwrite(Path(sys.argv[2]) / (path.stem + ".tif"), (flows[2] > 0).astype(np.uint16))
"""


def run(command: Sequence[str]) -> float:
    """CPU seconds of a process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    process = subprocess.Popen(
        list(command), env={**os.environ, **threads}, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", required=True, type=Path)
    parser.add_argument("--count", type=int, default=43)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--try", action="store_true", dest="trial", help="Print, store nothing.")
    asked = parser.parse_args()
    sources = sorted((DATA / "dsb2018_nuclei" / "val" / "images").iterdir())[::2][: asked.count]
    with tempfile.TemporaryDirectory() as name:
        images, out = Path(name) / "images", Path(name) / "out"
        images.mkdir()
        out.mkdir()
        for source in sources:
            shutil.copy(source, images)
        ours = [sys.executable, "-m", "unmask", "predict", str(images), "--model", "nuclei"]
        ours += ["--out", str(out), "--overwrite", "-q", "--set"]
        commands = {
            "32": [*ours, "infer.precision=32"],
            "bf16": [*ours, "infer.precision=bf16"],
            "peer": [str(asked.peer_python), "-c", PEER, str(images), str(out)],
        }
        run(commands["32"])  # compiles kernels
        best = dict.fromkeys(commands, float("inf"))
        for _ in range(asked.repeats):
            for key, command in commands.items():
                best[key] = min(best[key], run(command))
    rows = [
        row(
            f"{len(sources)} images of nuclei, end to end, {form}",
            {"ours": best[key], "peer": best["peer"]},
            note="peer Cellpose 3.1.1.3 in float32, random weights, without its decoding",
        )
        for form, key in (("float32", "32"), ("bf16", "bf16"))
    ]
    if asked.trial:
        print(*rows, sep="\n")
    else:
        write("peers", rows)


if __name__ == "__main__":
    main()
