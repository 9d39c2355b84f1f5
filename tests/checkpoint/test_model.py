from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unmask.checkpoint import load_model, load_weights, save_model
from unmask.checkpoint.model import plain
from unmask.errors import CheckpointError, SaveError


def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_weights_and_card_come_back(tmp_path):
    card = {"recipe": {"name": "é"}, "metrics": {"dice": np.float32(0.5), "hd95": float("nan")}}
    save_model(tmp_path / "m.safetensors", net().state_dict(), card)
    model = load_model(tmp_path / "m.safetensors")
    assert model.card == {"recipe": {"name": "é"}, "metrics": {"dice": 0.5, "hd95": None}}
    other = net()
    load_weights(other, model.weights, source=model.path)
    assert all(torch.equal(v, model.weights[k]) for k, v in other.state_dict().items())


def test_cards_of_earlier_versions_are_read_by_todays_names(tmp_path):
    card = {"licence": "MIT", "data": {"licence": "CC0-1.0"}, "recipe": {"licence": 1}}
    save_model(tmp_path / "m.safetensors", net().state_dict(), card)
    read = load_model(tmp_path / "m.safetensors").card
    assert read == {"license": "MIT", "data": {"license": "CC0-1.0"}, "recipe": {"licence": 1}}


def test_a_run_folder_is_its_best_model(tmp_path):
    save_model(tmp_path / "model.safetensors", {"w": torch.ones(1)}, {})
    assert load_model(tmp_path).path == tmp_path / "model.safetensors"


def test_missing_models_say_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"folder without a model.*first snapshot"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"none\.safetensors.*Check the path"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("new", [True, False])
def test_pickles_are_sent_to_convert(tmp_path, new):
    torch.save({"a": torch.ones(1)}, tmp_path / "m.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match="unmask convert"):
        load_model(tmp_path / "m.pth")


def test_weights_without_a_card_are_sent_to_convert(tmp_path):
    save_file({"w": torch.ones(1)}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"not made by unmask"):
        load_model(tmp_path / "m.safetensors")


def test_another_network_is_refused_with_the_first_differences(tmp_path):
    weights = nn.Sequential(*[nn.Linear(2, 3) for _ in range(5)]).state_dict()
    with pytest.raises(CheckpointError) as caught:
        load_weights(net(), weights, source="runs/a")
    text = str(caught.value)
    assert "runs/a does not fit Sequential" in text
    assert "0.weight: expected numbers of shape (4, 1, 3, 3), found numbers of shape (3, 2)" in text
    assert "--init" in text
    assert "more" in text
    assert text.count("\n") == 6


def test_half_precision_weights_fit_but_integers_do_not():
    target = nn.Linear(2, 2)
    load_weights(target, {k: v.half() for k, v in target.state_dict().items()}, source="x")
    with pytest.raises(CheckpointError, match="int64"):
        load_weights(target, {k: v.long() for k, v in target.state_dict().items()}, source="x")


def test_a_failed_save_keeps_the_older_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, {"w": torch.ones(3)}, {})
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="finite"):
        save_model(path, {"w": torch.full((3,), float("nan"))}, {})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match="file/model"):
        save_model(tmp_path / "file" / "model.safetensors", {"w": torch.ones(1)}, {})


def test_plain_values():
    given = {1: (Path("a"), np.int64(3), torch.tensor(2.0)), "x": [float("inf"), None, True]}
    assert plain(given) == {"1": ["a", 3, 2.0], "x": [None, None, True]}


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.zip"])
def test_an_archive_that_is_cut_off_is_called_so(tmp_path, name):
    path = tmp_path / name
    torch.save({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(CheckpointError, match=r"m\.\w+: expected a whole file.*cut off"):
        load_model(path)
