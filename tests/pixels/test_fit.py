from typing import Any

import numpy as np
import pytest
import torch

from unmask.errors import RecipeError
from unmask.lookup import Choice
from unmask.pixels.fit import cross_validate, divide, fit_head


def pixels(count=90, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    useful = 100 * np.eye(3)[classes][:, :2] + rng.normal(size=(count, 2))
    noise = rng.normal(size=(count, 30))
    return np.concatenate([useful, noise], axis=1).astype(np.float32), classes.astype(np.int64)


@pytest.mark.parametrize("head", ["forest", "linear", "mlp"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_heads_know_pixels_that_they_were_not_fitted_to(head, ndim):
    features, classes = pixels()
    fitted, built = fit_head(Choice(head), features, classes, ndim=ndim, count=3, seed=0)
    again, truth = pixels(seed=1)
    image = torch.from_numpy(again).T.reshape(1, 32, -1, *(1,) * (ndim - 1))
    if head == "forest":
        forest: Any = fitted
        assert built.options["nodes"] == forest.feature.shape[1]
        forest.smooth = 0.0
    with torch.inference_mode():
        assert (fitted(image)[0].argmax(0).numpy().ravel() == truth).mean() > 0.9


def test_cross_validation_prefers_the_features_that_tell_classes_apart():
    features, classes = pixels()
    columns = {"noise": np.arange(2, 32), "useful": np.arange(2)}
    folds = divide(classes, np.zeros(len(classes), int))
    found = cross_validate(Choice("forest"), columns, features, classes, folds, seed=0)
    assert found["useful"] > 0.9 > 0.6 > found["noise"]


def test_whole_images_are_left_out_if_every_class_is_in_several():
    classes, images = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(divide(classes, images), images)


def test_runs_of_a_stroke_are_left_out_of_a_single_image():
    classes = np.repeat([0, 1], 50)
    folds = divide(classes, np.zeros(100, int))
    for k in (0, 1):
        mine = folds[classes == k]
        assert (np.diff(mine) >= 0).all()
        assert set(mine) == {0, 1, 2, 3, 4}


def test_a_head_that_learns_by_updates_is_refused():
    features, classes = pixels()
    with pytest.raises(RecipeError, match=r"forest, linear or mlp.*Change model.head"):
        fit_head(Choice("branches"), features, classes, ndim=2, count=3, seed=0)
