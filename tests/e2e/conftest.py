"""What the end-to-end tests share: large images, programs in processes of their own, files read."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pytest

from unmask.phantoms.cells import write_set


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    """Two images of many blocks that do not divide them."""
    folder = tmp_path_factory.mktemp("large")
    return write_set(folder, "nuclei", shape=(90, 85), count=2, seed=3) / "images"


@pytest.fixture(scope="session")
def in_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python program with arguments; keywords are variables of its environment."""

    def run(program: str, *given: object, **environment: str) -> subprocess.CompletedProcess[str]:
        source = Path(__file__).resolve().parents[2] / "src"
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, given)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def killing() -> str:
    """Start of a program that dies where ``TEST_KILL=part:nth`` says.

    It is the ``nth`` renaming to a path with ``part`` in it. Threads rename one after the other, so
    that the renamings before it are finished.
    """
    return """
import os, signal, threading
part, nth = os.environ.get("TEST_KILL", "/:0").split(":")
plain, count, lock = os.replace, [0], threading.Lock()
def replace(source, target, **more):
    with lock:
        count[0] += part in str(target)
        if part in str(target) and count[0] == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(source, target, **more)
os.replace = replace
"""


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, bytes]]:
    """Bytes of a file, or of all files of a folder by name."""

    def read(path: Path) -> dict[str, bytes]:
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}

    return read


@pytest.fixture(scope="session")
def printed() -> Callable[..., list[str]]:
    """Words of the command that an interrupted verb printed, with ``kept`` said before it.

    It is one line, of a form that a shell takes.
    """

    def read(errors: str, kept: str, lead: str = "Continue with") -> list[str]:
        line = errors.rstrip().splitlines()[-1]
        said, _, command = line.partition(f" {lead}: ")
        assert said == f"Interrupted. {kept}", errors
        program, *words = shlex.split(command)
        assert program == "unmask"
        return words

    return read


@pytest.fixture
def started() -> Generator[Callable[..., subprocess.Popen[str]], None, None]:
    """``started(*words, ...)``: a program of its own, with environment variables; it ends here."""
    children: list[subprocess.Popen[str]] = []

    def run(*words: str, **environment: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            words,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # In the background of a shell children would ignore SIGINT until the program starts.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        children.append(child)
        return child

    yield run
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
