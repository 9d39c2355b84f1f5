"""What models say about themselves."""

from __future__ import annotations

import pytest

from unmask import api
from unmask.checkpoint import load_model, save_model

EVIL = "\x1b]0;title\x07\x9b2J\u202eold\n=cmd()"


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_card_of_a_run(ndim, command, trained):
    answer = command("models", trained[ndim])
    assert answer.code == 0, answer.err
    scores = ("scores", "dice") if load_model(trained[ndim]).card["metrics"] else ()
    words = ("semantic", f"{ndim}D", "resunet", "channels", "spacing", "tensors", *scores)
    for word in (*words, "nuclei_000.tif", "model.safetensors"):
        assert word in answer.out, word


def test_a_shipped_model_and_a_file_are_one(command):
    model = load_model("nuclei")
    by_name, by_path = command("models", "nuclei"), command("models", model.path)
    assert by_name.out == by_path.out
    for word in ("Data Science Bowl", "CC0-1.0", "Apache-2.0", "0.8756"):
        assert word in by_name.out
    assert api.model_card("nuclei").card == model.card


def test_fields_that_later_versions_add_are_shown(trained, tmp_path):
    model = load_model(trained[2])
    diameters = {"median": 12.5, "largest": 40}
    save_model(
        tmp_path / "m.safetensors", model.weights, {**model.card, "object_diameters": diameters}
    )
    facts = api.model_card(tmp_path / "m.safetensors").facts
    assert facts["object diameters"] == "median: 12.5, largest: 40"


def test_cards_cannot_command_the_terminal(command, trained, tmp_path):
    model = load_model(trained[2])
    recipe = {**model.card["recipe"], "description": EVIL, "name": EVIL}
    card = {**model.card, "recipe": recipe, "license": EVIL, "data": {EVIL: EVIL}, "origin": [EVIL]}
    save_model(tmp_path / "m.safetensors", model.weights, card)
    answer = command("models", tmp_path / "m.safetensors")
    assert answer.code == 0, answer.err
    assert not set(answer.out) & set("\x1b\x07\x9b\u202e")
    assert not any(line.startswith("=cmd") for line in answer.out.splitlines())


def test_code_is_named_and_not_run(command, trained, tmp_path):
    marker = tmp_path / "marker"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w')")
    model = load_model(trained[2])
    recipe = {**model.card["recipe"], "task": f"{tmp_path}/evil.py:T"}
    code = [{"file": "evil.py", "sha256": "ab" * 32, "source": "x"}]
    save_model(
        tmp_path / "m.safetensors", model.weights, {**model.card, "recipe": recipe, "code": code}
    )
    answer = command("models", tmp_path / "m.safetensors")
    assert answer.code == 0, answer.err
    assert "evil.py:T" in answer.out
    assert "abababab" in answer.out
    assert "--allow-code" in answer.out
    assert not marker.exists()


@pytest.mark.parametrize(
    "field", ["data", "metrics", "license", "origin", "versions", "code", "step"]
)
@pytest.mark.parametrize("value", [None, 3, 1.5, "x", [], [1, [2]], {}, {"a": {"b": [None]}}, True])
def test_fields_of_any_type_are_shown(field, value, trained, tmp_path):
    model = load_model(trained[2])
    save_model(tmp_path / "m.safetensors", model.weights, {**model.card, field: value})
    assert api.model_card(tmp_path / "m.safetensors").to_text()


def test_nothing_there(command, tmp_path):
    answer = command("models", tmp_path / "none")
    assert answer.code == 2
    assert "Shipped models: generalist2d, nuclei, phantoms2d, phantoms3d" in answer.err
