"""What a prediction says before it begins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from unmask.api import prediction
from unmask.api.prediction_options import Options


@pytest.mark.parametrize("compares", [True, False])
def test_uncertainty_of_one_view_is_reported(monkeypatch, compares):
    loaded = SimpleNamespace(uncertainty=None)
    mirrored = SimpleNamespace(compares=compares)
    monkeypatch.setattr(prediction, "load_predictor", lambda *_, **__: loaded)
    monkeypatch.setattr(prediction, "compare_flips", lambda _: mirrored)
    said: list[str] = []
    found = prediction._load("m", (), Options(scores=True), allow_code=False, say=said.append)
    assert found is mirrored
    assert bool(said) != compares
    assert all("mirrored views cannot be compared" in line for line in said)
    assert prediction._load("m", (), Options(), allow_code=False, say=said.append) is loaded
