"""Random weights get the budget of the start that they are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest

from unmask.apps.curve_equal import Costs, equalize, parse_equal
from unmask.apps.curve_runs import Pretraining
from unmask.apps.curve_starts import Start
from unmask.build import layout
from unmask.data.pairs import open_pairs
from unmask.errors import RecipeError
from unmask.phantoms import write_phantoms
from unmask.recipe import load

SMALL = ("data.crop=[16,16]", "train.batch_size=1", "train.precision='32'")
RECIPE = load("semantic2d").with_settings(["train.steps=10", *SMALL])
METHOD = load("spark2d").with_settings(["train.steps=30", *SMALL])


def starts():
    scratch = Start("scratch", RECIPE, against="scratch")
    given = Start("given", RECIPE, against="scratch", init=Path("model"))
    own = Start("spark2d", RECIPE, against="scratch", init=Path("run"))
    return [scratch, given, own]


def budgets(equal, cost=lambda _: 1.0):
    said: list[str] = []
    before = {"spark2d": Pretraining(METHOD, Path("run"), ())}
    found = equalize(starts(), before, equal, cost, said.append)
    return [(each.name, each.against, each.recipe.train.steps) for each in found], said


def test_the_training_alone_changes_nothing():
    found, said = budgets("training")
    assert [name for name, *_ in found] == ["scratch", "given", "spark2d"]
    assert not said


def test_updates_of_the_pre_training_are_given_to_random_weights():
    found, said = budgets("updates")
    assert found == [
        ("scratch", "scratch", 10),
        ("given", "scratch", 10),
        ("scratch-40-updates", "scratch-40-updates", 40),
        ("spark2d", "scratch-40-updates", 10),
    ]
    assert said == [
        "spark2d is compared with scratch-40-updates, whose trainings take as many updates in all."
    ]


def test_seconds_of_the_pre_training_are_given_to_random_weights():
    found, _ = budgets("seconds", lambda recipe: 2.5 if recipe.task is None else 1.0)
    assert found[2:] == [
        ("scratch-85-updates", "scratch-85-updates", 85),
        ("spark2d", "scratch-85-updates", 10),
    ]


def test_costs_are_measured_once(tmp_path):
    folder = write_phantoms(tmp_path, "nuclei", (24, 32), 1)
    pairs = open_pairs(folder / "images", folder / "classes", layout(RECIPE))
    first = Costs(tmp_path / "costs.json", pairs)(RECIPE)
    assert first > 0
    assert Costs(tmp_path / "costs.json", ())(RECIPE) == first


def test_an_unknown_budget_is_refused():
    with pytest.raises(RecipeError, match=r"--equal.*training, updates, seconds.*'time'"):
        parse_equal("time")
