"""Prediction in blocks from the command line: clusters, killed workers, killed runs, memory."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unmask.infer.load import load_predictor
from unmask.infer.predict_blocks import predict_blocks
from unmask.io import open_image, open_labels, save_image

PROGRAM = "from unmask.cli import main; main()"
# Windows so small that blocks share few of them: scores are not stored.
LINES = ("infer.block=[30, 30]", "infer.tile=[8, 8]", "infer.overlap=0.0")
BLOCKS = [part for line in LINES for part in ("--set", line)]


@pytest.fixture(scope="module")
def instances(tmp_path_factory, command, phantoms, tiny) -> Path:
    """The run of a segmenter of instances, hardly trained."""
    run = tmp_path_factory.mktemp("instances") / "run"
    where = ("--images", phantoms[2] / "images", "--labels", phantoms[2] / "labels", "--out", run)
    # Nearly every voxel is foreground to it, and all objects stay: many pieces over all blocks.
    task = ("--set", "task.min_size=0", "--set", "task.flow_error=0.0", "--set", "task.reach=6")
    answer = command("train", "--preset", "cells", *where, *tiny(2), *task)
    assert answer.code == 0, answer.err
    return run


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: open_labels(path, ndim=2).read()[0] for path in sorted(folder.glob("*.tif"))}


def test_blocks_scores_and_what_is_said(command, instances, images, content, tmp_path):
    out = tmp_path / "out"
    where = ("predict", "--model", instances, images, "--out", out, *BLOCKS)
    answer = command(*where, "--scores")
    assert answer.code == 0, answer.err
    assert answer.out.count("9 blocks of 30 x 30 voxels") == 2
    assert "GB of memory" in answer.out
    names = sorted(path.stem for path in images.iterdir())
    written = [*(f"{n}.tif" for n in names), "scores", "uncertainty"]
    assert sorted(path.name for path in out.iterdir()) == written
    plain = tmp_path / "plain"
    assert command(*where[:4], "--out", plain, *BLOCKS).code == 0
    for name in names:
        assert open_image(out / "scores" / f"{name}.zarr", ndim=2).shape == (3, 90, 85)
        assert content(out / f"{name}.tif") == content(plain / f"{name}.tif")


def test_a_cluster_gives_the_same_bytes(command, instances, images, content, tmp_path):
    where = ("predict", "--model", instances, images, *BLOCKS)
    assert command(*where, "--out", tmp_path / "one").code == 0
    answer = command(*where, "--out", tmp_path / "two", "--workers", "threads:2")
    assert answer.code == 0, answer.err
    for name in sorted(path.stem for path in images.iterdir()):
        assert content(tmp_path / "one" / f"{name}.tif") == content(
            tmp_path / "two" / f"{name}.tif"
        )


def test_no_cluster_there(command, instances, images, tmp_path, monkeypatch):
    where = ("predict", "--model", instances, images, "--out", tmp_path / "out")
    answer = command(*where, "--workers", "nonsense://here")
    assert answer.code == 2, answer.err
    assert "--workers nonsense://here: expected the address of a running dask" in answer.err


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(instances, images, content, tmp_path):
    distributed = pytest.importorskip("distributed")
    path = sorted(images.iterdir())[0]
    model = load_predictor(instances, LINES)
    predict_blocks(model, open_image(path, ndim=2), tmp_path / "whole.tif")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        pids = client.run(os.getpid)
        killed: list[int] = []

        def kill() -> None:
            folder = tmp_path / ".predict" / "a.tif"
            while not list(folder.glob("block-*.bin")):
                time.sleep(0.01)
            killed.append(next(iter(pids.values())))
            os.kill(killed[0], signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        image = open_image(path, ndim=2)
        predict_blocks(model, image, tmp_path / "a.tif", cluster=cluster.scheduler_address)
        killer.join(timeout=600)
        assert killed
        assert killed[0] not in client.run(os.getpid).values()
    assert content(tmp_path / "a.tif") == content(tmp_path / "whole.tif")


@pytest.mark.slow
def test_a_killed_run_goes_on(command, instances, images, in_process, killing, content, tmp_path):
    where = ("predict", "--model", instances, images, *BLOCKS)
    assert command(*where, "--out", tmp_path / "whole").code == 0
    out = tmp_path / "out"
    done = in_process(killing + PROGRAM, *where, "--out", out, TEST_KILL="block-:13")
    assert done.returncode == -signal.SIGKILL
    first, second = sorted(path.stem for path in images.iterdir())
    assert (out / f"{first}.tif").exists()
    assert not (out / f"{second}.tif").exists()
    work = out / ".predict" / f"{second}.tif"
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("block-*.bin")}
    assert len(before) == 3
    done = in_process(
        killing + PROGRAM, *where, "--out", out, "--resume", TEST_KILL="pages.ome.zarr/0/c:3"
    )
    assert done.returncode == -signal.SIGKILL
    assert f"{first}.tif (finished before)" in done.stdout
    after = {path.name: path.stat().st_mtime_ns for path in work.glob("block-*.bin")}
    assert len(after) == 9
    assert before.items() <= after.items()
    answer = command(*where, "--out", out, "--resume")
    assert answer.code == 0, answer.err
    for name in (first, second):
        assert content(out / f"{name}.tif") == content(tmp_path / "whole" / f"{name}.tif")
    assert not (out / ".predict").exists()


def test_lost_chunks_are_told(command, trained, tmp_path):
    save_image(tmp_path / "a.zarr", np.ones((600, 600), np.uint8))
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "1").unlink()
    where = (tmp_path / "a.zarr", "--out", tmp_path / "out", "--set", "infer.tile=[256, 256]")
    answer = command("predict", "--model", trained[2], *where)
    assert answer.code == 0, answer.err
    assert "a.zarr: 1 of 4 chunks are not there, the first one is c/0/1" in answer.out


def test_a_second_run_into_one_output_is_refused(command, instances, images, tmp_path):
    from unmask.checkpoint import lock_run

    with lock_run(tmp_path / "out" / ".predict"):
        answer = command("predict", "--model", instances, images, "--out", tmp_path / "out")
    assert answer.code == 2, answer.err
    assert f"process {os.getpid()}" in answer.err


MEASURE = """
import sys, threading, time
from pathlib import Path
import torch
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.io import open_image
from unmask.space.tiling import Tiling
from unmask.tasks.semantic import Semantic

class Two(torch.nn.Module):
    def logits(self, image):
        return torch.cat([image, 1 - image], 1)

def resident():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1e3

def watch():
    while True:
        peak[0] = max(peak[0], resident())
        time.sleep(0.005)

small, large, out = sys.argv[1:]
peak = [resident()]
threading.Thread(target=watch, daemon=True).start()
model = Predictor([Two()], Semantic(2), 1, Tiling((256, 256), overlap=0.0))
for path in (small, large):
    predict_blocks(model, open_image(path, ndim=2), Path(out, Path(path).name), block=(512, 512))
    print(peak[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_image(in_process, tmp_path):
    """64 times as many voxels take at most a tenth more memory, the program's own included."""
    # A small file: its pages, while they are mapped, count as memory of the process.
    part = np.indices((256, 256)).sum(0).astype(np.uint8)
    files = []
    for edge in (1536, 12288):
        files.append(tmp_path / f"{edge}.tif")
        whole = np.tile(part, (edge // 256, edge // 256))
        tifffile.imwrite(files[-1], whole, tile=(256, 256), compression="zlib")
    done = in_process(MEASURE, *files, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stdout.split())
    assert large <= 1.1 * small, (small, large)
    assert tifffile.TiffFile(tmp_path / "out" / "12288.tif").pages.first.is_tiled
