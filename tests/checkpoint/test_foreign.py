import argparse
import collections
import pickle
import subprocess
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unmask.checkpoint import load_foreign
from unmask.errors import CheckpointError


class Bomb:
    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return subprocess.call, (["touch", str(self.canary)],)


def test_nested_checkpoints_come_back(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    given = {
        "model": collections.OrderedDict(a=shared, b=shared, turned=shared.T),
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1),
        "list": [torch.ones(2), "x", None],
        "parameter": nn.Parameter(torch.ones(1)),
        7: torch.zeros(0),
    }
    torch.save(given, tmp_path / "a.pth")
    found = load_foreign(tmp_path / "a.pth")
    assert torch.equal(found["model"]["turned"], shared.T)
    assert torch.equal(found["model"]["a"], found["model"]["b"])
    assert found["epoch"] == 3
    assert found["args"] == {"lr": 0.1}
    assert found["list"][1:] == ["x", None]
    assert found["7"].shape == (0,)


def test_plain_safetensors_need_no_digest(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")
    assert load_foreign(tmp_path / "a.safetensors")["w"].tolist() == [1.0, 1.0]


def write_zip_payload(path, canary):
    torch.save({"w": torch.ones(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            payload = pickle.dumps(Bomb(canary), protocol=2)
            archive.writestr(name, payload if name.endswith("data.pkl") else content)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reduce", "bare pickle", "inside a zip"])
def test_payloads_are_refused_and_not_run(tmp_path, kind):
    """Row 10 of docs/reliability.md: the canary must not appear."""
    canary, path = tmp_path / "canary", tmp_path / "weights.pth"
    if kind == "reduce":
        torch.save({"w": torch.ones(1), "x": Bomb(canary)}, path)
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps(Bomb(canary)))
    else:
        write_zip_payload(path, canary)
    with pytest.raises(CheckpointError, match=r"weights\.pth.*not run.*state_dict") as caught:
        load_foreign(path)
    assert "raise " not in str(caught.value)
    assert not canary.exists()
    if kind == "reduce":
        torch.load(path, weights_only=False)
        assert canary.exists(), "the payload of this test is dead"


def test_other_files_are_refused(tmp_path):
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(CheckpointError, match=r"page\.pth"):
        load_foreign(tmp_path / "page.pth")
    torch.save(torch.ones(3), tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match="dict of tensors"):
        load_foreign(tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match=r"none\.pth"):
        load_foreign(tmp_path / "none.pth")
