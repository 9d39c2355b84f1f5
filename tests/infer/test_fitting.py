"""The scale of an image is fitted to what the model finds in it, and small doubtful objects go."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from unmask.data.grid import View
from unmask.data.normalize import NoNormalize
from unmask.errors import RecipeError
from unmask.infer.fitting import (
    Trial,
    choose_sample,
    choose_stable,
    choose_trial,
    describe_fit,
    fit_predictor,
)
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_labels
from unmask.labels import connected_components
from unmask.labels.doubtful import find_doubtful
from unmask.space.tiling import Tiling
from unmask.testing.untrained import Untrained


class Same(nn.Module):
    """A network whose logits are the image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def logits(self, image):
        return image


class Counting(Same):
    """The same, which notes every batch."""

    def __init__(self, seen) -> None:
        super().__init__()
        self.seen = seen

    def logits(self, image):
        self.seen.append(len(image))
        return image


@dataclass(frozen=True)
class Pieces(Untrained):
    """Connected pieces above one half, which are as sure as they are bright."""

    doubtful_size: int = 0
    context = 40

    def sureness(self, scores):
        return scores[0]

    def doubting(self, size):
        return replace(self, doubtful_size=size)

    def decode(self, scores, spacing):
        labels = connected_components(scores[0] > 0.5)
        gone = find_doubtful(labels, scores[0], size=self.doubtful_size, sure=0.9)
        return np.where(gone[labels], 0, labels)


class NoScore(Pieces):
    def sureness(self, scores):
        return None


def predictor(task=None, **given):
    tiling = Tiling((64, 64), batch_size=4)
    given = {"normalize": NoNormalize(), "fit": ("scale", "size"), **given}
    return Predictor([Same()], task or Pieces(), 1, tiling, **given)


def scene(gap):
    """Eight squares of 50 pixels, four of them cut into three pieces by lines of ``gap`` pixels."""
    image = np.zeros((1, 128, 256), np.float32)
    for number in range(8):
        y, x = 10 + 64 * (number // 4), 10 + 64 * (number % 4)
        image[0, y : y + 50, x : x + 50] = 0.95
        if number % 2:
            for line in (16, 33):
                image[0, y + line : y + line + gap, x : x + 50] = 0
    # A speck, which no square is the size of, and a bright one.
    image[0, 64:70, 100:106], image[0, 64:70, 130:136] = 0.7, 1.0
    return image


def test_a_coarser_scale_joins_the_pieces_of_objects():
    plain = predictor(fit=()).predict(scene(1))
    fitted = predictor().predict(scene(1))
    assert plain.labels.max() == 4 + 4 * 3 + 2
    assert fitted.provenance["fit"]["scale"] < 1
    # The speck is gone; the bright one is sure, as far as a coarse scale leaves it so.
    assert 8 <= len(np.unique(fitted.labels)) - 1 <= 9
    assert fitted.labels[66, 102] == 0
    assert fitted.provenance["fit"]["diameter"] == pytest.approx(50 * 2 / np.pi**0.5, rel=0.1)


def test_blocks_are_those_of_the_whole_image(tmp_path):
    one = predictor()
    whole = one.predict(scene(1)).labels
    image = Image.from_array(scene(1), ndim=2)
    predict_blocks(one, image, tmp_path / "labels.tif", block=(64, 64))
    blocks = open_labels(tmp_path / "labels.tif", ndim=2).read()[0]
    assert np.array_equal(whole > 0, blocks > 0)
    assert len(np.unique(whole)) == len(np.unique(blocks))


def test_a_given_scale_is_kept():
    given = predictor(view=View(scale=0.5), fit=("size",))
    fitted = fit_predictor(given, Image.from_array(scene(1), ndim=2))
    assert fitted.view.scale == 0.5
    assert fitted.task.doubtful_size > 0
    assert describe_fit(given, fitted) is None


def test_the_choice_is_described():
    given = predictor()
    fitted = fit_predictor(given, Image.from_array(scene(1), ndim=2))
    assert f"{fitted.view.scale:g} times the size" in (describe_fit(given, fitted) or "")
    same = replace(fitted, notes={"fit": {"scale": 1.0, "diameter": 20.0}})
    assert describe_fit(given, same) is None


def test_without_a_fit_nothing_changes():
    one = predictor(fit=())
    assert fit_predictor(one, Image.from_array(scene(1), ndim=2)) is one


def test_a_task_without_a_score_of_objects_is_refused():
    with pytest.raises(RecipeError, match=r"infer\.fit"):
        predictor(NoScore()).predict(scene(1))


def _trial(scale, edge, sureness, count=4, *, grown=1.0):
    """Squares of ``edge`` voxels of the image, on its grid; typical sizes are on the network's."""
    labels = np.zeros((128, 128), np.int32)
    for number in range(count):
        y, x = 64 * (number // 2), 64 * (number % 2)
        labels[y : y + edge, x : x + edge] = number + 1
    scores = np.zeros((1, 1, 1), np.float32)
    return Trial(scale, labels, (edge * scale * grown) ** 2, 0, sureness, scores)


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        # Large, rather alike and sure: as coarse as possible.
        ([_trial(1.0, 30, 0.95), _trial(0.7, 30, 0.93, 2), _trial(0.5, 30, 0.92, 1)], 0.5),
        # Too small on the grid of the network.
        ([_trial(1.0, 15, 0.95), _trial(0.7, 15, 0.94, 2), _trial(0.5, 15, 0.94, 1)], 1.0),
        # Less sure.
        ([_trial(1.0, 30, 0.95), _trial(0.7, 30, 0.93, 2), _trial(0.5, 30, 0.80, 1)], 0.7),
        # Other objects: what follows is not looked at.
        ([_trial(1.0, 30, 0.95), _trial(0.7, 6, 0.95), _trial(0.5, 30, 0.95)], 1.0),
        # The same objects: a coarser scale gains nothing, unless they are long.
        ([_trial(1.0, 30, 0.95), _trial(0.7, 30, 0.95), _trial(0.5, 30, 0.95)], 1.0),
        ([_trial(1.0, 60, 0.95), _trial(0.7, 60, 0.95), _trial(0.5, 60, 0.95)], 0.7),
        # Much larger ones.
        ([_trial(1.0, 30, 0.95), _trial(0.7, 30, 0.95, 2, grown=1.6)], 1.0),
    ],
)
def test_the_coarsest_scale_that_fits(trials, chosen):
    assert choose_trial(iter(trials)).scale == chosen


def test_an_empty_image_keeps_its_scale():
    empty = [_trial(scale, 0, 0.0) for scale in (1.0, 0.5)]
    assert choose_trial(iter(empty)).scale == 1.0
    assert choose_stable(iter(empty)).scale == 1.0


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        # The same objects at the next scale: that of the training is kept.
        ([_trial(1.0, 30, 0.9), _trial(0.7, 30, 0.9), _trial(0.5, 60, 0.9)], 1.0),
        # Pieces become objects, and the next scale finds the same ones.
        ([_trial(1.0, 10, 0.9), _trial(0.7, 30, 0.9), _trial(0.5, 50, 0.9),
          _trial(0.35, 52, 0.9)], 0.35),
        # No two scales find the same objects.
        ([_trial(1.0, 10, 0.9), _trial(0.7, 30, 0.9), _trial(0.5, 60, 0.9)], 1.0),
        # What is found again covers less.
        ([_trial(1.0, 60, 0.9), _trial(0.7, 30, 0.9, 2), _trial(0.5, 30, 0.9, 2)], 1.0),
        # Too few objects are found again.
        ([_trial(1.0, 10, 0.9), _trial(0.7, 30, 0.9), _trial(0.5, 50, 0.9, 3),
          _trial(0.35, 52, 0.9, 3)], 1.0),
        # What is found again is too small on the grid of the network.
        ([_trial(1.0, 10, 0.9), _trial(0.5, 26, 0.9), _trial(0.35, 27, 0.9)], 0.5),
    ],
)  # fmt: skip
def test_the_first_scale_that_finds_the_same_objects(trials, chosen):
    assert choose_stable(iter(trials)).scale == chosen


@dataclass(frozen=True)
class Squares(Pieces):
    """Pieces that are cut where they are longer than ``longest`` voxels, as flows are."""

    longest: int = 20

    def decode(self, scores, spacing):
        labels = connected_components(scores[0] > 0.5)
        pieces = np.zeros_like(labels)
        for label in range(1, labels.max() + 1):
            y, x = (each - each.min() for each in np.nonzero(labels == label))
            pieces[labels == label] = 100 * label + 10 * (y // self.longest) + x // self.longest
        return np.unique(pieces, return_inverse=True)[1].astype(np.int32)


def squares(edge):
    """Nine squares of ``edge`` pixels."""
    image = np.zeros((1, 240, 240), np.float32)
    for number in range(9):
        y, x = 80 * (number // 3), 80 * (number % 3)
        image[0, y : y + edge, x : x + edge] = 0.7
    return image


@pytest.mark.parametrize("base", [None, 0.8])
def test_only_the_scale_of_larger_objects_changes(base):
    """A model of objects of 20 pixels cuts those of 40."""
    for edge, changes in ((18, False), (40, True)):
        image = squares(edge)
        one = predictor(Squares(longest=20), fit=("scale",), view=View(scale=base))
        fitted = fit_predictor(one, Image.from_array(image, ndim=2))
        assert (fitted.view.scale != base) == changes
        assert (describe_fit(one, fitted) is not None) == changes
        assert fitted.task == one.task
        if changes:
            assert fitted.view.factor <= 0.5
            assert len(np.unique(fitted.predict(image).labels)) == 10


@pytest.mark.parametrize("edge", [18, 40])
def test_the_network_does_not_run_again_at_the_chosen_scale(edge):
    image = squares(edge)
    one = predictor(Squares(longest=20), fit=("scale",))
    opened = Image.from_array(image, ndim=2)
    fitted, seen = fit_predictor(one, opened), []
    assert (fitted.view.factor < 1) == (edge > 20)
    counted = replace(fitted, segmenters=[Counting(seen)])
    known = counted.decode(counted.score(counted.open(opened))).labels
    assert not seen
    again = replace(counted, known=None)
    assert np.array_equal(known, again.decode(again.score(again.open(opened))).labels)
    assert seen
    # Scores of another image are not those of this one.
    other = Image.from_array(np.zeros_like(image), ndim=2)
    assert not counted.predict(other).labels.any()


def test_large_images_are_judged_by_their_liveliest_part():
    array = np.zeros((1, 1100, 3000), np.uint8)
    array[0, 900:1000, 2800:2900] = np.random.default_rng(0).integers(0, 255, (100, 100))
    part = choose_sample(Image.from_array(array, ndim=2))
    assert part.shape == (1, 1024, 1024)
    assert part.read().max() > 0
