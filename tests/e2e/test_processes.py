"""The command line under torchrun: two processes learn as one, each from crops of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from unmask.training import parallel

PROGRAM = """
import hashlib, os, sys, threading
from pathlib import Path
from unmask.cli import main
from unmask.data.crops import Crops

plain, lock = Crops.batch, threading.Lock()
place, *sys.argv[1:] = sys.argv[1:]
seen = Path(place, os.environ["RANK"])

def batch(self, index):
    found = plain(self, index)
    names = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in found.image]
    with lock, seen.open("a") as file:
        file.writelines(f"{threading.current_thread().name} {name}\\n" for name in names)
    return found

Crops.batch = batch
main()
"""


@pytest.mark.slow
def test_every_process_and_worker_has_crops_of_its_own(two_processes, phantoms, tiny, tmp_path):
    run, images = tmp_path / "run", phantoms[2] / "images"
    options = (*tiny(2, steps=6, backbone="vit"), "--set", "train.workers=2")
    where = ("pretrain", "--preset", "mae2d", "--images", images, "--out", run)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    for code, errors in two_processes(program, tmp_path, *where, *options):
        assert code == 0, errors
        assert "find_unused_parameters" not in errors
    assert (run / "model.safetensors").exists()
    lines = (run / "journal.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 6
    seen = [(tmp_path / rank).read_text().split() for rank in "01"]
    for words in seen:
        assert len(words[1::2]) >= 6 * 2
        assert len(set(words[::2])) == 2
    crops = [crop for words in seen for crop in words[1::2]]
    assert len(set(crops)) == len(crops)


def test_processes_that_were_not_started_are_told(command, phantoms, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    where = ("--images", phantoms[2] / "images", "--out", tmp_path / "run", "--devices", "3")
    answer = command("pretrain", "--preset", "mae2d", *where, *tiny(2, backbone="vit"))
    assert answer.code == 2, answer.err
    assert "--devices 3: expected 4 as srun started on this machine" in answer.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_speaks_for_all(rank, command, phantoms, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "rank_zero_only", SimpleNamespace(rank=rank))
    where = ("--images", phantoms[2] / "images", "--out", tmp_path / "run")
    answer = command("pretrain", "--preset", "mae2d", *where, *tiny(2, steps=1, backbone="vit"))
    assert answer.code == 0, answer.err
    assert answer.out.count("Model:") == (rank == 0)


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_says_what_is_kept(rank, command, phantoms, tiny, tmp_path, monkeypatch):
    """The others end before the first one has saved."""

    def end(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "rank_zero_only", SimpleNamespace(rank=rank))
    monkeypatch.setattr("unmask.api.runs.fit", end)
    where = ("--images", phantoms[2] / "images", "--out", tmp_path / "run")
    answer = command("pretrain", "--preset", "mae2d", *where, *tiny(2, steps=1, backbone="vit"))
    assert answer.code == 130, answer.err
    assert answer.err.count("Start again with: unmask pretrain") == (rank == 0)
