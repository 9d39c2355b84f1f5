"""Clusters from the command line: dask workers, kills, memory, learning from clusters."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unmask import api
from unmask.io import open_labels

# Blocks of 32 x 32 pixels.
PROGRAM = """
import unmask.clustering.dense
unmask.clustering.dense._BLOCK_BYTES = 4 * 24 * 32 * 32
from unmask.cli import main
main()
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory, command, phantoms, tiny) -> Path:
    run = tmp_path_factory.mktemp("encoder") / "run"
    where = ("--images", phantoms[2] / "images", "--out", run)
    answer = command("pretrain", "--preset", "mae2d", *where, *tiny(2, backbone="vit"))
    assert answer.code == 0, answer.err
    return run


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr("unmask.clustering.dense._BLOCK_BYTES", 4 * 24 * 32 * 32)


def request_of(encoder: Path, images: Path | str, out: Path) -> tuple[object, ...]:
    return ("cluster", images, "--model", encoder, "--out", out, "--classes", 4,
            "--quality", "draft", "--set", "infer.precision='32'")  # fmt: skip


@pytest.mark.usefixtures("small_blocks")
def test_workers_of_a_cluster_give_the_same_bytes(command, encoder, images, content, tmp_path):
    answer = command(*request_of(encoder, images, tmp_path / "one"))
    assert answer.code == 0, answer.err
    assert answer.out.count("9 blocks of 32 x 32 voxels, about 0.0 GB of memory") == 2
    answer = command(*request_of(encoder, images, tmp_path / "two"), "--workers", "threads:2")
    assert answer.code == 0, answer.err
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.usefixtures("small_blocks")
def test_workers_open_channels_in_several_files(command, tiny, content, tmp_path):
    gray = np.indices((2, 40, 48)).sum(0).astype(np.uint8) % 16 * 15
    for number, channel in enumerate(gray):
        tifffile.imwrite(tmp_path / f"a_{number}.tif", channel)
    image, run = str(tmp_path / "a_{0,1}.tif"), tmp_path / "run"
    network = (*tiny(2, steps=1, backbone="vit"), "--set", "data.channels=2")
    answer = command("pretrain", "--preset", "mae2d", "--images", image, "--out", run, *network)
    assert answer.code == 0, answer.err
    for out, options in {"one": (), "two": ("--workers", "threads:2")}.items():
        answer = command(*request_of(run, image, tmp_path / out), *options)
        assert answer.code == 0, answer.err
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
def test_a_killed_worker_costs_nothing_but_time(encoder, images, content, tmp_path):
    distributed = pytest.importorskip("distributed")
    path = sorted(images.iterdir())[0]
    clustered = partial(
        api.cluster, encoder, path, settings=["infer.precision='32'"], say=lambda _: None
    )
    first = clustered(out=tmp_path / "one", classes=4)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        killed: list[int] = []

        def kill(pid: int) -> None:
            folder = tmp_path / "two" / ".predict"
            while not list(folder.rglob("block-*.bin")):
                time.sleep(0.01)
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

        pid = next(iter(client.run(os.getpid).values()))
        killer = threading.Thread(target=kill, args=(pid,), daemon=True)
        killer.start()
        chosen = api.ClusterOptions(centers=first.centers, cluster=cluster.scheduler_address)
        clustered(out=tmp_path / "two", options=chosen)
        killer.join(timeout=600)
        assert killed
        assert killed[0] not in client.run(os.getpid).values()
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.slow
def test_a_killed_run_goes_on(encoder, images, in_process, killing, content, tmp_path):
    where = request_of(encoder, images, tmp_path / "whole")
    done = in_process(PROGRAM, *where)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    where = request_of(encoder, images, out)
    done = in_process(killing + PROGRAM, *where, TEST_KILL="block-:13")
    assert done.returncode == -signal.SIGKILL
    work = {path: path.stat().st_mtime_ns for path in out.rglob("block-*.bin")}
    assert len(work) == 3
    first = sorted(out.glob("*.tif"))[0]
    written = first.stat().st_mtime_ns
    done = in_process(killing + PROGRAM, *where, "--resume", TEST_KILL="pages.ome.zarr/0/c:3")
    assert done.returncode == -signal.SIGKILL
    assert f"{first} (finished before)" in done.stdout
    after = {path: path.stat().st_mtime_ns for path in out.rglob("block-*.bin")}
    assert work.items() <= after.items()
    assert len(after) == 9
    done = in_process(PROGRAM, *where, "--resume")
    assert done.returncode == 0, done.stderr
    assert first.stat().st_mtime_ns == written
    assert content(out) == content(tmp_path / "whole")
    assert not (out / ".predict").exists()


def test_clusters_can_be_trained_on(command, encoder, images, tiny, tmp_path):
    """Pseudo-labels: what was clustered and named trains a network of another kind."""
    (tmp_path / "names.yaml").write_text("cells: [1, 3]\nrest: [4]\nbackground: [2]\n")
    where = request_of(encoder, images, tmp_path / "named")
    answer = command(*where, "--names", tmp_path / "names.yaml")
    assert answer.code == 0, answer.err
    labels = sorted((tmp_path / "named").glob("*.tif"))
    assert max(open_labels(path, ndim=2).read().max() for path in labels) == 2
    run = tmp_path / "run"
    learning = ("--images", images, "--labels", tmp_path / "named", "--out", run)
    answer = command(
        "train", "--preset", "semantic2d", *learning, *tiny(2), "--set", "task.classes=3"
    )
    assert answer.code == 0, answer.err
    answer = command("predict", "--model", run, images, "--out", tmp_path / "predicted")
    assert answer.code == 0, answer.err
    assert len(list((tmp_path / "predicted").glob("*.tif"))) == len(labels)


MEASURE = """
import sys, threading, time
from functools import partial
from pathlib import Path
import unmask.clustering.dense
from unmask import api

def resident():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) / 1e3

def watch():
    while True:
        peak[0] = max(peak[0], resident())
        time.sleep(0.005)

unmask.clustering.dense._BLOCK_BYTES = 8 << 20
model, small, large, out = sys.argv[1:]
peak = [resident()]
threading.Thread(target=watch, daemon=True).start()
options = api.ClusterOptions(quality="draft")
for path in (small, large):
    api.cluster(model, path, out=Path(out, Path(path).stem), classes=4, options=options)
    print(peak[0], file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_volume(command, tiny, in_process, tmp_path):
    """64 times as many voxels take at most a tenth more memory, the program's own included."""
    # A small file: its pages, while they are mapped, count as memory of the process.
    part = np.indices((256, 256)).sum(0).astype(np.uint8)
    files = []
    for edge in (768, 6144):
        files.append(tmp_path / f"{edge}.tif")
        whole = np.tile(part, (edge // 256, edge // 256))
        tifffile.imwrite(files[-1], whole, tile=(256, 256), compression="zlib")
    run = tmp_path / "run"
    network = "model.backbone={name: vit, patch: 16, dim: 8, depth: 1, heads: 1}"
    options = (*tiny(2, backbone="vit"), "--set", network, "--set", "data.crop=[128, 128]")
    where = ("--preset", "mae2d", "--images", files[0], "--out", run)
    assert command("pretrain", *where, *options).code == 0
    done = in_process(MEASURE, run, *files, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stderr.split()[-2:])
    assert large <= 1.1 * small, (small, large)
