from pathlib import Path

import numpy as np
import pytest

from unmask.apps.curve_convergence import find_convergence
from unmask.apps.curve_draws import find_kinds, order_images
from unmask.apps.curve_runs import Training
from unmask.apps.curve_table import Row, bootstrap_interval
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.recipe import load

# A score that gains half as much with every doubling of the updates.
LIMIT, GAIN, STEPS = 0.8, 0.08, 4000


class Pretended(Training):
    def __call__(self):
        doublings = np.log2(self.recipe.train.steps / STEPS)
        score = LIMIT - GAIN * 2.0**-doublings
        return Row(self.row.start, self.row.labels, 0, metrics={"dice": float(score)})


def make(recipe, count):
    return Pretended(recipe, Row("scratch", count, 0), Path("x"), [], [], [], [])


def test_one_doubling_says_that_updates_are_short_and_how_many_would_do():
    found = find_convergence(make, load("semantic2d"), (2, 8), "dice", doublings=1)
    assert not found.converged
    assert found.steps == STEPS
    assert found.rises == {2: pytest.approx(0.04), 8: pytest.approx(0.04)}
    # Gains are .04, .02, .01, .005: from eight times the updates on a doubling brings nothing.
    assert found.enough == 8 * STEPS
    assert "Updates limit the scores, not labels" in found.describe("dice")


def test_updates_are_doubled_until_nothing_is_gained():
    found = find_convergence(make, load("semantic2d"), (2, 8), "dice", doublings=6)
    assert found.converged
    assert found.steps == 8 * STEPS
    assert "Scratch has converged" in found.describe("dice")


def test_runs_of_the_search_have_folders_of_their_own():
    seen = []

    class Seen(Pretended):
        def __call__(self):
            seen.append(self.folder.name)
            return super().__call__()

    def made(recipe, count):
        return Seen(recipe, Row("scratch", count, 0), Path(f"scratch-{count}-0"), [], [], [], [])

    find_convergence(made, load("semantic2d"), (1,), "dice", doublings=1)
    assert seen == ["scratch-1-0-4000-updates", "scratch-1-0-8000-updates"]


def test_draws_are_nested_and_have_every_kind():
    rng = np.random.default_rng(0)
    dark = [rng.normal(size=(32, 32)) for _ in range(8)]
    striped = [np.tile(np.sin(np.arange(32)), (32, 1)) + 0.01 * image for image in dark[:4]]
    pairs = [
        Pair(str(n), Image.from_array(image.astype(np.float32), ndim=2))
        for n, image in enumerate([*dark, *striped])
    ]
    kinds = find_kinds(pairs)
    assert not set(kinds[:8]) & set(kinds[8:])
    for repeat in range(5):
        order = order_images(kinds, repeat)
        assert sorted(order) == list(range(12))
        assert any(index >= 8 for index in order[:6])
    assert (find_kinds(pairs[:5]) == 0).all()
    assert not np.array_equal(order_images(kinds, 0), order_images(kinds, 1))


def test_bootstrap_interval_widens_for_few_differences():
    many = bootstrap_interval([0.02, 0.03, 0.04, 0.03, 0.02, 0.04])
    assert 0.02 < many[0] < many[1] < 0.04
    few = bootstrap_interval([0.02, 0.04])
    assert few[0] < 0 < few[1]
