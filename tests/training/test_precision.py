"""The precision of a training is measured, and kept."""

from __future__ import annotations

import pytest
import torch

from unmask.recipe import load
from unmask.training import precision
from unmask.training.precision import keep_precision, measure_precision, supported_precisions
from unmask.training.timing import Timing


def timing(seconds):
    return Timing(seconds, 1000, None, torch.device("cpu"))


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"32": 1.0, "bf16": 0.5}, "bf16"),
        ({"32": 1.0, "bf16": 1.5}, "32"),
        ({"32": 1.0, "bf16": 0.97}, "32"),
    ],
)
def test_the_fastest_is_taken(monkeypatch, seconds, chosen):
    monkeypatch.setattr(precision, "has_bf16", lambda _: True)
    monkeypatch.setattr(
        precision,
        "time_seen",
        lambda pairs, recipe, *, updates: timing(seconds[recipe.train.precision]),
    )
    measured = measure_precision([], load("cells"), "cpu")
    assert measured.recipe.train.precision == chosen
    assert measured.timing == timing(seconds[chosen])
    assert "float32" in measured.describe()
    assert "bfloat16" in measured.describe()


def test_what_was_asked_for_is_not_compared(monkeypatch):
    seen = []

    def time_seen(pairs, recipe, *, updates):
        seen.append(recipe.train.precision)
        return timing(1.0)

    monkeypatch.setattr(precision, "time_seen", time_seen)
    recipe = load("cells").with_settings(["train.precision='32'"])
    assert measure_precision([], recipe, "cpu").recipe == recipe
    assert seen == ["32"]


def test_a_short_run_is_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "time_seen", None)
    monkeypatch.setattr(precision, "has_bf16", lambda _: False)
    short = load("cells").with_settings(["train.steps=5"])
    measured = measure_precision([], short, "cpu")
    assert measured.recipe.train.precision == "32"
    assert measured.timing is None


def test_half_precision_is_for_gpus_without_bf16(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda _: True)
    assert supported_precisions("cuda") == ("32", "bf16")
    assert supported_precisions("cpu") == ("32", "bf16")
    monkeypatch.setattr(precision, "has_bf16", lambda _: False)
    assert supported_precisions("mps") == ("32",)
    assert supported_precisions("cuda") == ("32", "16")


def test_a_resumed_run_keeps_its_precision(tmp_path):
    recipe = load("cells")
    assert keep_precision(recipe, tmp_path) == recipe
    written = recipe.with_settings(["train.precision=bf16"])
    (tmp_path / "recipe.yaml").write_text(written.to_yaml(), encoding="utf-8")
    assert keep_precision(recipe, tmp_path).train.precision == "bf16"
    own = recipe.with_settings(["train.precision='32'"])
    assert keep_precision(own, tmp_path) == own
