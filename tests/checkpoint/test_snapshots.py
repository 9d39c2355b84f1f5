import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from unmask.atomic import aside_name
from unmask.checkpoint import load_snapshot, remove_leftovers, save_snapshot
from unmask.errors import CheckpointError, SaveError


def save(folder, step, *, keep=2):
    tensors = {"model": {"w": torch.full((4,), float(step))}, "optimizer": {}}
    return save_snapshot(folder, step, tensors, {"best": None, "n": step}, keep=keep)


def names(folder):
    return sorted(path.name for path in (folder / "snapshots").iterdir())


def test_the_newest_step_is_found(tmp_path):
    assert load_snapshot(tmp_path) is None
    for step in [9, 10, 100]:
        save(tmp_path, step)
    found = load_snapshot(tmp_path)
    assert found is not None
    assert found.step == 100
    assert found.tensors["model"]["w"].tolist() == [100.0] * 4
    assert found.tensors["optimizer"] == {}
    assert found.state == {"best": None, "n": 100}
    assert names(tmp_path) == ["step-10", "step-100"]


def test_the_same_step_may_be_saved_again(tmp_path):
    save(tmp_path, 5)
    save(tmp_path, 5)
    assert names(tmp_path) == ["step-5"]


def every_place(folder):
    return sorted((folder / "snapshots" / "step-2").iterdir())


def test_flipped_bits_lead_to_the_snapshot_before(tmp_path):
    """Row 7 of docs/reliability.md: 300 flips in all files, each noticed, both snapshots named."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    draw = random.Random(0)
    for trial in range(300):
        path = draw.choice(every_place(tmp_path))
        content = path.read_bytes()
        wrong = bytearray(content)
        wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
        path.write_bytes(wrong)
        told = []
        found = load_snapshot(tmp_path, report=told.append)
        assert found is not None
        assert found.step == 1, (trial, path)
        assert path.name in told[0]
        assert "step-1 is used instead" in told[0]
        path.write_bytes(content)


def test_truncated_or_missing_files_lead_to_the_snapshot_before(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    for path in every_place(tmp_path):
        content = path.read_bytes()
        for length in [0, 1, 8, len(content) // 2, len(content) - 1]:
            path.write_bytes(content[:length])
            with pytest.warns(UserWarning, match="step-1 is used instead"):
                found = load_snapshot(tmp_path)
            assert found is not None
            assert found.step == 1
        path.unlink()
        with pytest.warns(UserWarning, match=path.name):
            load_snapshot(tmp_path)
        path.write_bytes(content)


def test_nothing_whole_is_an_error_not_a_fresh_start(tmp_path):
    for step in [1, 2]:
        (save(tmp_path, step) / "state.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        load_snapshot(tmp_path, report=lambda _: None)
    assert "step-1/state.json" in str(caught.value)
    assert "step-2/state.json" in str(caught.value)
    assert "--init" in str(caught.value)


def test_a_renamed_snapshot_is_noticed(tmp_path):
    save(tmp_path, 1).rename(tmp_path / "snapshots" / "step-7")
    with pytest.raises(CheckpointError, match="step-7"):
        load_snapshot(tmp_path, report=lambda _: None)


def test_leftovers_go_and_whole_snapshots_stay(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "snapshots" / "step-2.tmp").mkdir()
    (tmp_path / "snapshots" / "step-2.tmp" / "model.safetensors").write_text("half")
    killed = aside_name(Path("model.safetensors")).replace(f"-{os.getpid()}-", f"-{2**30}-")
    (tmp_path / killed).write_text("half")
    (tmp_path / "model.safetensors").write_text("whole")
    assert len(remove_leftovers(tmp_path)) == 2
    assert names(tmp_path) == ["step-1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "snapshots"]


def test_a_snapshot_set_aside_comes_back(tmp_path):
    whole = save(tmp_path, 3)
    whole.rename(whole.with_name("step-3.old.tmp"))
    remove_leftovers(tmp_path)
    found = load_snapshot(tmp_path)
    assert found is not None
    assert found.step == 3


def test_a_full_disk_names_what_is_needed(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(SaveError, match=r"step-2.* MB needed.*--resume"):
        save(tmp_path, 2)
    assert names(tmp_path) == ["step-1"]


def test_a_run_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(SaveError, match="gone"):
        save(tmp_path / "gone", 1)


def test_numbers_that_are_not_finite_leave_nothing(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match="finite"):
        save_snapshot(tmp_path, 2, {"model": {"w": torch.tensor([float("nan")])}}, {})
    assert names(tmp_path) == ["step-1"]


def test_the_manifest_lists_size_and_digest(tmp_path):
    text = (save(tmp_path, 1) / "MANIFEST.json").read_text()
    manifest = json.loads(text.partition(" ")[2])
    assert set(manifest["files"]) == {
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    }
    assert all({"size", "xxh3"} == set(entry) for entry in manifest["files"].values())
