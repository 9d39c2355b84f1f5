"""Models of a hub: fetched once, verified, with messages that help."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from unmask import api, hub
from unmask.api.destinations import name_of
from unmask.checkpoint import describe_model
from unmask.errors import CheckpointError, MissingPackageError, RecipeError
from unmask.infer.load import load_predictor

RUN = Path(__file__).resolve().parents[1] / "fixtures" / "v0_1" / "run"


@pytest.fixture
def content() -> bytes:
    return (RUN / "model.safetensors").read_bytes()


def sums(content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  model.safetensors\n".encode()


def test_a_model_is_fetched_once_and_read(fake_hub, content):
    fake_hub.put("lab/cells", model__safetensors=content, SHA256SUMS=sums(content))
    card = api.model_card("hf:lab/cells")
    assert card.card == describe_model(RUN).card
    asked = list(fake_hub.requests)
    assert any("model.safetensors" in line for line in asked)
    assert describe_model("hf:lab/cells").path == card.path
    assert fake_hub.requests == asked


def test_labels_are_named_after_it(fake_hub, content):
    fake_hub.put("lab/cells", model__safetensors=content)
    assert name_of(load_predictor("hf:lab/cells@main"), None) == "cells"


def test_without_the_hub_the_cache_is_used(fake_hub, content, monkeypatch, tmp_path):
    fake_hub.put("lab/cells", model__safetensors=content, SHA256SUMS=sums(content))
    first = hub.fetch_model("hf:lab/cells")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.fetch_model("hf:lab/cells") == first


def test_neither_hub_nor_cache(no_hub, command):
    answer = command("models", "hf:lab/cells")
    assert answer.code == 2
    for word in ("hf:lab/cells", "expected a connection", "Without a network", "path/to"):
        assert word in answer.err, word


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hf:lab/none", "no such repository"),
        ("hf:lab/cells@v9", "no such revision"),
        ("hf:lab/data", "without model.safetensors"),
    ],
)
def test_what_does_not_exist(fake_hub, content, name, found):
    fake_hub.put("lab/cells", model__safetensors=content)
    fake_hub.put("lab/data", README__md=b"nothing else")
    with pytest.raises(CheckpointError, match=found) as error:
        hub.fetch_model(name)
    assert "`unmask share`" in str(error.value)


@pytest.mark.parametrize("name", ["hf:", "hf:cells", "hf:a/b/c", "hf:a/b@", "hf:../b", "hf:a b/c"])
def test_names_of_another_form(name):
    with pytest.raises(RecipeError, match="hf:owner/name"):
        hub.fetch_model(name)


def test_a_wrong_digest_is_refused(fake_hub, content):
    fake_hub.put("lab/cells", model__safetensors=content, SHA256SUMS=sums(b"other"))
    with pytest.raises(CheckpointError, match="SHA256SUMS states") as error:
        hub.fetch_model("hf:lab/cells")
    assert hashlib.sha256(content).hexdigest() in str(error.value)


def test_a_file_that_is_not_what_the_hub_states(fake_hub, content):
    fake_hub.put("lab/cells", model__safetensors=content)
    fake_hub.etag = "0" * 64
    with pytest.raises(CheckpointError, match="the hub states"):
        hub.fetch_model("hf:lab/cells")


def test_a_path_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hf:lab").mkdir()
    (tmp_path / "hf:lab" / "cells").mkdir()
    assert not hub.is_hub_name("hf:lab/cells")


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"unmask\[hub\]"):
        hub.fetch_model("hf:lab/another")
