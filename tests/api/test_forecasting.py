"""Forecasts count every training, validation and decoding, and are given in numbers and words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from unmask import api
from unmask.api import forecasting
from unmask.api.briefing import forecast_lines
from unmask.api.forecasting import Forecast, extrapolate, forecast
from unmask.build import assemble_segmenter, layout
from unmask.data.pairs import Audit, open_pairs
from unmask.recipe import load
from unmask.training.precision import Measured
from unmask.training.threads import use_threads
from unmask.training.timing import Timing


@pytest.fixture(params=[2, 3])
def opened(request, phantoms, tiny):
    """A recipe of a small network, and its labeled images."""
    ndim = request.param
    given = tiny(ndim, steps=30)
    settings = [part for part in given if part != "--set"]
    recipe = load("cells" if ndim == 2 else "cells3d").with_settings(settings)
    folder = phantoms[ndim]
    return recipe, open_pairs(folder / "images", folder / "labels", layout(recipe))


def measured(recipe):
    timing = Timing(0.5, 1000, 10**9, torch.device("cpu"), busy=2.0)
    return Measured(recipe.with_settings(["train.precision='32'"]), {"32": timing})


def test_a_forecast_from_start_to_end(opened):
    recipe, pairs = opened
    found, made = forecast(pairs, recipe)
    assert found.timing is not None
    assert made.updates == 30
    # Updates, and the choice of the precision before them.
    assert made.seconds > 30 * found.timing.update
    assert made.memory is not None
    assert made.memory > 10**7
    assert "30 updates of" in made.describe(forecasting.describe_updates(recipe, made.updates))


@pytest.mark.parametrize("times", [{"32": 0.5}, {"32": 1.0, "bf16": 0.5}])
def test_the_choice_of_the_precision_counts_what_it_times(opened, monkeypatch, times):
    recipe, pairs = opened
    chosen = min(times, key=times.__getitem__)
    timings = {
        name: Timing(seconds, 1000, 10**9, torch.device("cpu")) for name, seconds in times.items()
    }
    pinned = recipe.with_settings([f"train.precision={chosen}", "data.holdout=0"])
    monkeypatch.setattr(
        forecasting, "measure_precision", lambda *_, **__: Measured(pinned, timings)
    )
    _, made = forecast(pairs, pinned)
    trial = 2 * forecasting.count_updates(pinned)
    # A training of 30 updates times two in each precision.
    assert made.seconds == pytest.approx((30 + trial) * 0.5 + 2 * sum(times.values()))


def test_a_busy_machine_uses_the_threads_of_the_training(opened, monkeypatch):
    def time_seen(*_, **__):
        """Half the time with one of two threads, and one does not wait for a core."""
        slow = torch.get_num_threads() > 1
        return Timing(0.5, 1000, 10**9, torch.device("cpu"), busy=9.0 if slow else 1.0)

    monkeypatch.setattr(forecasting, "time_seen", time_seen)
    monkeypatch.setattr(
        forecasting,
        "measure_precision",
        lambda _, own, *__, **___: Measured(own, {"32": time_seen()}),
    )
    recipe, pairs = opened
    audit = Audit(pairs)
    with use_threads(2):
        lines = list(forecast_lines(audit, recipe.with_settings(["train.precision='32'"])))
    assert audit.forecast["busy"] == 1.0
    assert "CPU, 1 thread (0.5 s per update; 2 threads: 4.5 s)" in lines[1]
    assert "Other programs" not in lines[2]


def test_validations_and_folds_are_counted(opened, monkeypatch):
    recipe, pairs = opened
    cost = forecasting._Cost(1e-6, 1e-3)
    monkeypatch.setattr(forecasting, "_time_prediction", lambda *_: cost)
    own = recipe.with_settings(["train.validate_every=10", "train.tune=false"])
    none = extrapolate(measured(own), None, (), folds=0)
    assert none.seconds == pytest.approx(30 * 0.5)
    voxels = math.prod(pairs[0].image.shape[1:])
    once = extrapolate(measured(own), None, pairs[:1], folds=0)
    assert once.seconds - none.seconds == pytest.approx(3 * voxels * 1e-3, rel=0.1)
    folds = extrapolate(measured(own), None, pairs, folds=2)
    assert folds.updates == 90
    # Every image is in one fold; its output is decoded twice more after the folds.
    scored = 5 * len(pairs) * voxels * 1e-3
    assert folds.seconds - 90 * 0.5 == pytest.approx(scored, rel=0.1)
    tuned = extrapolate(measured(own.with_settings(["train.tune=true"])), None, pairs, folds=2)
    assert tuned.seconds - folds.seconds == pytest.approx(40 * scored / 5, rel=0.1)


def test_the_network_is_left_as_it_was(opened):
    recipe, pairs = opened
    network = assemble_segmenter(recipe).objective.finished.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert forecasting._time_prediction(network, pairs, recipe) is not None
    assert network.training
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_busy_machine_is_mentioned():
    text = Forecast(600, 120.0, 2.0, 10**9).describe("600 updates")
    assert text.startswith("about 2 min for 600 updates; 1 GB of memory. Other programs use")
    assert text.endswith("it takes 4 min")
    assert "Other" not in replace(Forecast(600, 120.0, 1.1)).describe("600 updates")
    assert Forecast(10).describe("10 updates") == "10 updates; their time was not measured"


def test_check_gives_numbers(phantoms, tiny):
    folder = phantoms[2]
    settings = [part for part in tiny(2, steps=30) if part != "--set"]
    lines = []
    audit = api.check(
        folder / "images",
        labels=folder / "labels",
        recipe="cells",
        settings=settings,
        say=lines.append,
    )
    assert audit.forecast["updates"] == 30
    assert audit.forecast["seconds"]
    assert [line.split(" ")[0] for line in lines[-3:]] == ["Network", "Device", "Forecast"]
