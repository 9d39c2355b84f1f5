"""Trainings that are killed or run out of disk resume (rows 1 to 5 of docs/reliability.md)."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from unmask.checkpoint import load_model, load_snapshot, save_model, save_snapshot
from unmask.errors import SaveError

SCRIPT = Path(__file__).with_name("tiny_run.py")
STEPS = 40
# Of the run that is killed sixty times: five snapshots and three models.
FEW = 20


class Child:
    """A training in a process of its own."""

    def __init__(self, server, folder, *options, fault=None):
        self.server = server
        self.errors = folder.parent / f"{folder.name}.errors"
        request = {
            "folder": str(folder),
            "errors": str(self.errors),
            "options": dict(option.split("=") for option in options),
            "fault": fault,
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        self.pid = int(server.stdout.readline())

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def wait(self):
        return int(self.server.stdout.readline()), self.errors.read_text()


@pytest.fixture(scope="module")
def start(faults):
    assert faults
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield partial(Child, server)
        assert server.stdin is not None
        server.stdin.close()


@pytest.fixture(scope="module")
def finish(start):
    return lambda *given, **named: start(*given, **named).wait()


def assert_equal_runs(found: Path, expected: Path, steps: int = STEPS):
    """Weights, moments, averages and journal are the same; speed and warnings are not compared."""
    left, right = load_snapshot(found), load_snapshot(expected)
    assert left is not None
    assert right is not None
    assert left.step == right.step == steps
    for group, tensors in right.tensors.items():
        assert tensors
        for name, tensor in tensors.items():
            assert torch.equal(left.tensors[group][name], tensor), (group, name)
    ours, wanted = load_model(found), load_model(expected)
    assert all(torch.equal(ours.weights[name], wanted.weights[name]) for name in wanted.weights)
    assert ours.card == wanted.card
    assert lines(found) == lines(expected)


def lines(folder: Path):
    records = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k != "samples_per_second"} for r in records]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, finish):
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, errors = finish(folder)
    assert code == 0, errors
    assert [line["step"] for line in lines(folder)] == list(range(2, STEPS + 1, 2))
    return folder


def count_operations(folder: Path, finish, *options: str) -> int:
    """File operations of a whole run: opening, writing, fsync, renaming, removing, ..."""
    code, errors = finish(folder, "count=1", *options)
    assert code == 0, errors
    return int(errors.splitlines()[-1])


@pytest.fixture(scope="module")
def operations(tmp_path_factory, finish) -> int:
    count = count_operations(tmp_path_factory.mktemp("counted") / "run", finish)
    assert count > 500
    return count


def kill_and_resume(folder: Path, first: int, draw: random.Random, finish, *options: str) -> None:
    """A kill at operation ``first``, another one in the resumed run, other numbers of threads."""
    code, errors = finish(folder, *options, fault=[first, "kill"])
    assert code == -signal.SIGKILL, errors
    again = ("resume=1", *options)
    finish(folder, *again, f"workers={draw.choice([1, 2])}", fault=[draw.randint(1, 80), "kill"])
    code, errors = finish(folder, *again, f"workers={draw.choice([0, 2])}")
    assert code == 0, errors


@pytest.mark.parametrize("number", range(12))
def test_kill_at_any_operation(tmp_path, uninterrupted, operations, number, finish):
    """Nothing is lost, nothing differs, nothing is left over."""
    draw = random.Random(number)
    part = operations // 12
    kill_and_resume(tmp_path / "run", 1 + number * part + draw.randrange(part), draw, finish)
    assert_equal_runs(tmp_path / "run", uninterrupted)
    assert not [path for path in (tmp_path / "run").rglob("*") if ".tmp" in path.name]


@pytest.mark.slow
def test_kill_at_every_operation_of_a_save(tmp_path, finish):
    """A model and a snapshot are written in this part of a run, and two older ones removed."""
    draw, few, whole = random.Random(1), f"steps={FEW}", tmp_path / "whole"
    first = count_operations(whole, finish, few) * 8 // 15
    for nth in range(first, first + 120, 2):
        folder = tmp_path / str(nth)
        kill_and_resume(folder, nth, draw, finish, few)
        assert_equal_runs(folder, whole, FEW)
        assert not [path for path in folder.rglob("*") if ".tmp" in path.name]
        shutil.rmtree(folder)


@pytest.mark.parametrize("number", range(4))
def test_kill_at_a_random_moment(tmp_path, uninterrupted, number, start, finish):
    draw = random.Random(100 + number)
    folder = tmp_path / "run"
    child = start(folder, "pause=0.01", "save_every=1", f"workers={draw.choice([0, 2, 4])}")
    time.sleep(draw.uniform(0.2, 1.0))
    # On a busy machine the run may have ended before.
    with suppress(ProcessLookupError):
        child.kill()
    assert child.wait()[0] in (-signal.SIGKILL, 0)
    code, errors = finish(folder, "resume=1")
    assert code == 0, errors
    left, right = load_snapshot(folder), load_snapshot(uninterrupted)
    assert left is not None
    assert right is not None
    for group, tensors in right.tensors.items():
        assert all(torch.equal(left.tensors[group][k], v) for k, v in tensors.items())


@pytest.mark.slow
def test_a_good_snapshot_survives_random_kills(tmp_path, start):
    """A process that saves without pause is killed 100 times."""
    draw = random.Random(5)
    for trial in range(100):
        folder = tmp_path / str(trial)
        child = start(folder, "for_ever=1")
        while not (folder / "done").exists():
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        child.kill()
        assert child.wait()[0] == -signal.SIGKILL
        done = int((folder / "done").read_text())
        found = load_snapshot(folder)
        assert found is not None
        assert done <= found.step <= done + 2
        assert (found.tensors["model"]["w"] == found.step).all()
        shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)])
def test_signals_save_and_end(tmp_path, uninterrupted, name, code, finish):
    """Row 4 of docs/reliability.md: the step ends, the run is saved, the exit code says why."""
    folder = tmp_path / "run"
    found, errors = finish(folder, f"stop={name}@21", "save_every=1000")
    assert found == code, errors
    snapshot = load_snapshot(folder)
    assert snapshot is not None
    assert snapshot.step == 11  # the 21st micro-batch belongs to it
    assert (folder / "model.safetensors").exists()
    assert lines(folder)[-1]["step"] == 11
    found, errors = finish(folder, "resume=1")
    assert found == 0, errors
    left, right = load_snapshot(folder), load_snapshot(uninterrupted)
    assert left is not None
    assert right is not None
    assert all(torch.equal(left.tensors["model"][k], v) for k, v in right.tensors["model"].items())


def test_a_second_interrupt_ends_at_once(tmp_path, finish):
    """Both arrive while one step runs: the saving that the first asks for never comes."""
    folder = tmp_path / "run"
    code, errors = finish(folder, "stop=SIGINT@21", "times=2", "save_every=1000")
    assert code == 130
    assert "at once" in errors
    assert load_snapshot(folder) is None
    assert finish(folder, "resume=1", "steps=4")[0] == 0


def test_another_run_is_not_overwritten(tmp_path, uninterrupted, finish):
    code, errors = finish(uninterrupted)
    assert code == 2
    assert "--resume" in errors
    assert "--out" in errors
    assert str(uninterrupted) in errors


def test_a_finished_run_has_nothing_to_do(uninterrupted, finish):
    before = {path: path.read_bytes() for path in uninterrupted.rglob("*.safetensors")}
    assert finish(uninterrupted, "resume=1")[0] == 0
    assert {path: path.read_bytes() for path in uninterrupted.rglob("*.safetensors")} == before


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.9])
def test_a_full_disk_ends_with_a_message_and_what_was_saved(tmp_path, share, operations, finish):
    folder = tmp_path / "run"
    code, errors = finish(folder, fault=[int(share * operations), "full"])
    assert code == 2, errors
    assert "No space left" in errors
    assert "free" in errors
    assert str(folder) in errors
    assert "Traceback" not in errors
    assert finish(folder, "resume=1")[0] == 0


WRITER = """
import resource, signal, sys, torch
from unmask.checkpoint import save_model, save_snapshot
from unmask.errors import SaveError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
big = {"w": torch.ones(1 << 20)}
for save in (
    lambda: save_model(sys.argv[1] + "/model.safetensors", big, {}),
    lambda: save_snapshot(sys.argv[1], 2, {"model": big}, {}),
):
    try:
        save()
    except SaveError as error:
        print(error)
"""


def test_a_file_too_large_keeps_the_older_ones(tmp_path):
    """RLIMIT_FSIZE stops the real write in the middle, as a full disk does."""
    save_model(tmp_path / "model.safetensors", {"w": torch.zeros(3)}, {})
    save_snapshot(tmp_path, 1, {"model": {"w": torch.zeros(3)}}, {})
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, text=True, check=True
    )
    told = done.stdout.splitlines()
    assert len(told) == 2
    assert all("File too large" in line and "free" in line for line in told)
    assert "model.safetensors" in told[0]
    assert "step-2" in told[1]
    assert load_model(tmp_path).weights["w"].tolist() == [0, 0, 0]
    found = load_snapshot(tmp_path)
    assert found is not None
    assert found.step == 1
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == ["step-1"]


def test_a_folder_without_permission_is_refused(tmp_path):
    if os.geteuid() == 0:
        # Root may write anywhere: a file in the folder's place is what remains to be tested.
        (tmp_path / "snapshots").write_text("")
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(SaveError, match="snapshots/step-1"):
        save_snapshot(tmp_path, 1, {"model": {}}, {})
