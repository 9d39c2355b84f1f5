"""Fixtures shared by all tests; shapes in annotations are checked while tests run."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from unmask import interruption
from unmask.cli import main
from unmask.phantoms.cells import write_set

# Kernels compiled by numba cannot be wrapped, so labels, metrics and data are left out.
_CHECKED = [
    "unmask.models",
    "unmask.pretraining",
    "unmask.tasks",
    "unmask.infer",
    "unmask.training",
]
install_import_hook(_CHECKED, "beartype.beartype")

# Tests are not timed: on a busy machine any of them may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_user(tmp_path_factory):
    """Tests leave nothing in the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNMASK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """An fsync checks its file and returns: only a power cut could tell the difference.

    What has to be durable, and when, is tested with ``power_cut`` in ``faults/disk.py``, which
    counts and follows every call. Programs that tests start wait for the disk as always.
    """

    def fsync(file):
        os.fstat(file if isinstance(file, int) else file.fileno())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"{variable}: there is no folder {folder}")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of numbers that the official programs gave."""
    return _folder("UNMASK_GOLDEN", _SHARED / "golden")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real data sets."""
    return _folder("UNMASK_DATA", _SHARED / "data")


@pytest.fixture(scope="session")
def fill(golden: Path):
    """The module that fills weights and inputs by formula."""
    spec = importlib.util.spec_from_file_location("golden_fill", golden / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def faults():
    """The module with which the disk fails, the process is killed or the power goes."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are looked up in /proc, which this system lacks")
    spec = importlib.util.spec_from_file_location(
        "faulty_disk", Path(__file__).parent / "faults" / "disk.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def full_disk(monkeypatch):
    """``full_disk(part, nth)``: the ``nth`` renaming to a path with ``part`` finds no room."""
    plain = os.replace

    def arm(part: str, nth: int) -> None:
        count = 0

        def replace(source, target, **more):
            nonlocal count
            count += part in str(target)
            if part in str(target) and count == nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return plain(source, target, **more)

        monkeypatch.setattr(os, "replace", replace)

    return arm


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def command():
    """The command line inside this process: arguments to an ``Answer``."""

    def run(*given: object) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        before = sys.argv
        hook = threading.excepthook
        handlers = {number: signal.getsignal(number) for number in interruption.signals()}
        sys.argv = ["unmask", *map(str, given)]
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
                main()
        finally:
            sys.argv, threading.excepthook = before, hook
            for number, handler in handlers.items():
                signal.signal(number, handler)
            interruption.forget()
        return Answer(int(end.value.code or 0), out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> dict[int, Path]:
    """By number of axes: a folder of ``images``, ``labels`` and ``classes``."""
    folder = tmp_path_factory.mktemp("phantoms")
    shapes = {2: (48, 40), 3: (10, 24, 20)}
    return {
        ndim: write_set(folder / f"{ndim}d", "nuclei", shape=shape, count=9 - 2 * ndim, seed=1)
        for ndim, shape in shapes.items()
    }


@pytest.fixture(scope="session")
def tiny():
    """Arguments that make a preset small: ``tiny(ndim, steps=..., backbone=...)``."""

    def settings(ndim: int, *, steps: int = 2, backbone: str = "resunet") -> list[str]:
        backbones = {
            "resunet": "{name: resunet, width: 4, depth: 3}",
            "vit": f"{{name: vit, patch: {[4, 8, 8][-ndim:]}, dim: 24, depth: 2, heads: 2}}",
        }
        lines = [
            f"model.backbone={backbones[backbone]}",
            f"data.crop={[8, 32, 32][-ndim:]}",
            "data.channels=1",
            f"train.steps={steps}",
            "train.batch_size=2",
            "train.precision='32'",
            "infer.precision='32'",
        ]
        return [part for line in lines for part in ("--set", line)]

    return settings


@pytest.fixture(scope="session")
def trained(tmp_path_factory, command, phantoms, tiny) -> dict[int, Path]:
    """By number of axes: the run of a segmenter of two classes, hardly trained."""
    runs = {ndim: tmp_path_factory.mktemp("trained") / f"{ndim}d" for ndim in phantoms}
    for ndim, run in runs.items():
        folder = phantoms[ndim]
        where = ("--images", folder / "images", "--labels", folder / "classes", "--out", run)
        extra = ("--set", "task.classes=2")
        answer = command("train", "--preset", f"semantic{ndim}d", *where, *tiny(ndim), *extra)
        assert answer.code == 0, answer.err
    return runs


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, without a window."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium found: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        # A loaded machine needs longer than the 30 s that are the default.
        running = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=120_000
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def two_processes():
    """Runs a Python program twice, as torchrun starts it; exit code and errors of both."""

    def run(*given: object) -> list[tuple[int, str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        source = Path(__file__).resolve().parents[1] / "src"
        common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
                  "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
                  "TORCHELASTIC_RUN_ID": "test", "PYTHONPATH": str(source)}  # fmt: skip
        processes = [
            subprocess.Popen(
                [sys.executable, *map(str, given)],
                env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        errors = [process.communicate(timeout=300)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]

    return run
