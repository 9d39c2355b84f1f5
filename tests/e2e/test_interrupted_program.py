"""Programs that get a signal from outside, and the command that they print for the rest."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unmask.phantoms.cells import write_set

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of POSIX")
ROOT = Path(__file__).resolve().parents[2]
# Blocks of the image below, far more than are finished when the signal comes.
BLOCKS = 22 * 22


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """An image in a folder whose name a shell would divide."""
    folder = tmp_path_factory.mktemp("large") / "my images"
    return write_set(folder, "nuclei", shape=(440, 440), count=1, seed=4) / "images"


@pytest.fixture
def start(started):
    """``start(words)``: the command line in a process of its own."""

    def run(words: list[str]) -> subprocess.Popen[str]:
        return started(sys.executable, "-m", "unmask", *words, PYTHONPATH=str(ROOT / "src"))

    return run


@pytest.mark.parametrize(
    ("name", "code", "quiet"), [("SIGINT", 130, False), ("SIGTERM", 143, True)]
)
def test_predict_in_blocks(start, printed, trained, large, tmp_path, name, code, quiet):
    out = tmp_path / "my labels"
    settings = ("--set", "infer.block=[20, 20]", "--set", "infer.overlap=0.0")
    small = (*settings, "--set", "infer.tile=[8, 8]", *(["--quiet"] if quiet else []))
    request = ["predict", str(large), "--model", str(trained[2]), "--out", str(out), *small]
    child = start(request)
    work = out / ".predict"
    while len([*work.rglob("block-*.bin")]) < 3 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(getattr(signal, name))
    written, errors = child.communicate(timeout=300)
    assert child.returncode == code, errors
    assert not quiet or (written, len(errors.splitlines())) == ("", 1)
    blocks = {path: path.stat().st_mtime_ns for path in work.rglob("block-*.bin")}
    assert 3 <= len(blocks) < BLOCKS
    image = large / "nuclei_000.tif"
    kept = f"{image}: {len(blocks)} of {BLOCKS} blocks are finished and kept in {work}."
    again = printed(errors, kept)
    assert again == [*request, "--resume"]
    # The rest is ended too. No block is made again, and the option is not doubled.
    child = start(again)
    while len([*work.rglob("block-*.bin")]) < len(blocks) + 3 and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(getattr(signal, name))
    errors = child.communicate(timeout=300)[1]
    assert child.returncode == code, errors
    now = {path: path.stat().st_mtime_ns for path in work.rglob("block-*.bin")}
    assert {path: now[path] for path in blocks} == blocks
    kept = f"{image}: {len(now)} of {BLOCKS} blocks are finished and kept in {work}."
    assert printed(errors, kept) == again
    child = start(again)
    errors = child.communicate(timeout=600)[1]
    assert child.returncode == 0, errors
    assert (out / "nuclei_000.tif").exists()
    assert not work.exists()
