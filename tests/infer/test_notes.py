"""Notes: dropped foreground by reason, objects of another size, one image or many blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import View
from unmask.data.normalize import NoNormalize
from unmask.infer import notes
from unmask.infer.notes import decode_image, decode_part
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_labels
from unmask.labels import labels_to_flows
from unmask.metrics import dice, evaluate_pair
from unmask.space.box import Box
from unmask.space.tiling import Tiling
from unmask.tasks.affinities import Affinities
from unmask.tasks.flows import Flows
from unmask.tasks.semantic import Semantic


class Same(nn.Module):
    """A network whose logits are the image."""

    def logits(self, image):
        return image


class Trained(Flows):
    """Scores are given as they are."""

    def activate(self, logits):
        return logits


def predictor(task, ndim: int = 2, **options: Any) -> Predictor:
    tiling = Tiling(options.pop("tile", (64,) * ndim))
    chosen: dict[str, Any] = {"normalize": NoNormalize(), **options}
    return Predictor([Same()], task, task.channels(), tiling, **chosen)


def discs(radius: float, *, space=(96, 120), step: float = 3.0) -> np.ndarray:
    """A regular grid of balls that do not touch."""
    labels = np.zeros(space, np.int32)
    places = np.indices(space)
    period = int(step * radius)
    centers = np.stack(np.meshgrid(*(np.arange(period // 2, n, period) for n in space)), -1)
    for name, center in enumerate(centers.reshape(-1, len(space)), 1):
        inside = sum((p - c) ** 2 for p, c in zip(places, center, strict=True)) < radius**2
        labels[inside] = name
    return labels


def scores_of(labels: np.ndarray) -> np.ndarray:
    return np.concatenate([labels_to_flows(labels), labels[None] > 0]).astype(np.float32)


class TestDropped:
    def test_objects_that_do_not_fit_their_flows(self):
        labels = discs(8)
        scores = scores_of(labels)
        scores[:2] *= 0.2
        result = predictor(Trained(2)).predict(scores)
        assert not result.labels.any()
        total = np.count_nonzero(labels)
        # Foreground that is dropped says nothing about sizes, so no size is advised.
        [dropped] = result.notes
        assert f"foreground of {total:,} pixels dropped (of {total:,})" in dropped
        assert f"{labels.max()} objects whose shapes do not fit" in dropped
        assert "task.flow_error=0.4" in dropped

    def test_small_objects(self):
        labels = discs(8)
        labels[:3, :3] = 99
        [note] = predictor(Trained(2)).predict(scores_of(labels)).notes
        assert "foreground of 9 pixels dropped" in note
        assert "task.min_size=15" in note or "end nowhere together" in note

    def test_large_objects(self):
        labels = np.zeros((40, 44), np.int32)
        labels[2:38, 2:42] = 1
        result = predictor(Trained(2)).predict(scores_of(labels))
        assert "1 object larger than 40% of the image" in result.notes[0]
        assert not predictor(Trained(2, max_fraction=1.0)).predict(scores_of(labels)).notes

    def test_nothing_is_said_of_labels_without_doubt(self):
        assert predictor(Trained(2)).predict(scores_of(discs(8))).notes == ()
        assert predictor(Semantic(2)).predict(np.zeros((2, 20, 20), np.float32)).notes == ()

    def test_affinities_with_a_foreground(self):
        offsets = [[-1, 0], [0, -1]]
        task = Affinities(
            2,
            offsets=offsets,
            foreground=True,
            decoding={"name": "waterz", "min_foreground": 20, "min_size": 30},
        )
        logits = np.full((3, 40, 40), -9, np.float32)
        for rows in (slice(0, 4), slice(8, 13), slice(20, 38)):
            logits[:, rows, rows] = 9
        (note,) = predictor(task).predict(logits).notes
        assert "foreground of 41 pixels dropped (of 365)" in note
        assert "16 in 1 object in pieces of the foreground that are too small" in note
        assert (
            "25 in objects that are too small and have no neighbor (decoding.min_size=30)" in note
        )


@pytest.mark.parametrize("ndim", [2, 3])
def test_blocks_count_what_the_whole_image_counts(ndim, tmp_path):
    rng = np.random.default_rng(0)
    labels = discs(5, space=(30, 60, 66)[-ndim:], step=2.5)
    scores = scores_of(labels)
    bad = np.isin(labels, rng.choice(labels.max(), labels.max() // 3, replace=False) + 1)
    scores[:ndim, bad] *= -0.5
    model = predictor(
        Trained(ndim, reach=8), ndim, tile=(16,) * ndim, trained=ObjectDiameters(30, 24, 40, 9)
    )
    heard: list[str] = []
    predict_blocks(model, scores, tmp_path / "a.tif", block=(13,) * ndim, say=heard.append)
    whole = model.predict(scores)
    assert np.array_equal(
        open_labels(tmp_path / "a.tif", ndim=ndim).read()[0] > 0, whole.labels > 0
    )
    assert [line for line in heard if "halo" not in line] == list(whole.notes)
    assert len(whole.notes) == 2


def test_a_large_object_is_large_by_the_whole_image_and_not_by_a_block(tmp_path):
    labels = np.zeros((40, 300), np.int32)
    labels[8:32, 10:34] = 1
    model = predictor(Trained(2, reach=16), tile=(16, 16))
    heard: list[str] = []
    predict_blocks(model, scores_of(labels), tmp_path / "a.tif", block=(20, 20), say=heard.append)
    assert open_labels(tmp_path / "a.tif", ndim=2).read()[0].max() == 1
    assert not heard


class TestSizes:
    trained = ObjectDiameters(median=12, low=8, high=18, objects=100)

    def test_objects_of_the_training_are_not_mentioned(self):
        model = predictor(Trained(2), trained=self.trained)
        assert model.predict(scores_of(discs(6))).notes == ()

    def test_larger_objects(self):
        model = predictor(Trained(2), trained=self.trained)
        [note] = model.predict(scores_of(discs(20, space=(120, 120)))).notes
        assert "far larger than the objects that the model was trained on (8 to 18 pixels" in note
        number = float(note.split("--diameter ")[1].split(" ")[0])
        assert number == pytest.approx(40, rel=0.15)

    def test_smaller_objects(self):
        model = predictor(Trained(2, min_size=0), trained=replace(self.trained, low=16, median=20))
        note = model.predict(scores_of(discs(3))).notes[-1]
        assert "objects are far smaller than" in note
        assert float(note.split("--diameter ")[1].split(" ")[0]) == pytest.approx(6, abs=1)

    def test_debris_and_touching_objects_are_no_sizes(self):
        """Most objects are specks, or the foreground is one wide piece: the objects still fit."""
        labels = discs(6, step=3.2)
        space = np.argwhere(labels == 0)[::40]
        labels[tuple(space.T)] = labels.max() + 1 + np.arange(len(space))
        assert len(space) > labels.max() // 2
        model = predictor(Trained(2, min_size=0, flow_error=0.0), trained=self.trained)
        notes = model.predict(scores_of(labels)).notes
        assert not any("--diameter" in note for note in notes)
        close = discs(6, space=(96, 96), step=2)
        wide = predictor(Trained(2), trained=self.trained).predict(scores_of(close)).notes
        assert not any("--diameter" in note for note in wide)

    def test_the_number_is_in_pixels_of_the_image(self):
        labels = discs(20, space=(64, 64), step=3)
        large = np.kron(scores_of(labels), np.ones((1, 2, 2), np.float32))
        model = predictor(Trained(2), trained=self.trained, view=View(scale=0.5))
        [*_, note] = model.predict(large).notes
        assert float(note.split("--diameter ")[1].split(" ")[0]) == pytest.approx(80, rel=0.15)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_scaled_image_gives_labels_on_its_own_grid(ndim, tmp_path):
    """Flows of a small image, enlarged: the network sees them at their own size again."""
    labels = discs(5, space=(20, 40, 44)[-ndim:], step=3)
    model = predictor(Trained(ndim), ndim, tile=(16,) * ndim)
    kernel = np.ones((1, *(3,) * ndim), np.float32)
    large, truth = np.kron(scores_of(labels), kernel), np.kron(labels, kernel[0].astype(np.int32))
    small = replace(model, view=View(scale=1 / 3))
    result = small.predict(large, keep_scores=True)
    assert result.labels.shape == truth.shape
    assert result.scores is not None
    assert result.scores.shape == (ndim + 1, *truth.shape)
    assert evaluate_pair(truth, result.labels, ["f1@0.75"])["f1@0.75"] == 1
    predict_blocks(small, large, tmp_path / "a.tif", block=(24,) * ndim)
    found = open_labels(tmp_path / "a.tif", ndim=ndim).read()[0]
    assert evaluate_pair(result.labels, found, ["f1@0.75"])["f1@0.75"] == 1
    assert repr(small.view) != repr(model.view)  # --resume compares it


def test_a_smaller_grid_averages_what_it_covers():
    """Every other pixel of a fine pattern would be a grid of one value."""
    pattern = np.zeros((1, 64, 64), np.float32)
    pattern[:, ::4, ::4] = 16
    task = Semantic(2)
    model = predictor(task, view=View(scale=0.25))
    both = np.concatenate([pattern, pattern])
    place = model.view.place(model._open(both))
    seen = place.seen(model._open(both)).read()
    assert seen.shape == (2, 16, 16)
    np.testing.assert_allclose(seen[:, 1:-1, 1:-1], 1, atol=0.2)
    assert torch.isfinite(torch.from_numpy(seen)).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_classes_are_decoded_on_the_grid_of_the_image(ndim, monkeypatch):
    """Interpolated scores place borders between voxels of the network's grid; labels cannot."""
    shape, middle = (48,) * ndim, 23.7
    radius = np.sqrt(((np.indices(shape) - middle) ** 2).sum(0))
    truth = (radius < 15).astype(np.uint8)
    image = Image.from_array(truth.astype(np.float32), spacing=(1.0,) * ndim)
    place = View((2.0,) * ndim).place(image)
    # The share of every voxel of the network that the object covers.
    share = place.seen(image).read()
    scores = np.concatenate([1 - share, share])
    task = Semantic()
    answer, _ = decode_image(task, scores, image, place)
    expected = task.decode(place.back_scores(scores), None)
    np.testing.assert_array_equal(answer.labels, expected)
    resampled = place.back(task.decode(scores, None).astype(np.uint8))
    assert dice(truth, answer.labels) > max(0.99, dice(truth, resampled))
    box = Box((7,) * ndim, (31,) * ndim)
    # The slabs of a large image give the same labels.
    monkeypatch.setattr(notes, "_SLAB_BYTES", 9000 if ndim == 2 else 200_000)
    np.testing.assert_array_equal(decode_image(task, scores, image, place)[0].labels, answer.labels)
    part, _ = decode_part(task, lambda each: scores[:, *each.slices], image, place, box)
    np.testing.assert_array_equal(part, answer.labels[box.slices])


def test_outside_the_part_seen_labels_are_0():
    image = Image.from_array(np.pad(np.ones((6, 7), np.float32), 3), spacing=(1.0, 1.0))
    place = View(None, 0.5).place(image)
    scores = np.stack([np.zeros(place.shape), np.ones(place.shape)]).astype(np.float32)
    answer, _ = decode_image(Semantic(values=(4, 9)), scores, image, place)
    np.testing.assert_array_equal(answer.labels, 9 * image.read()[0].astype(int))
    outside = Box((0, 0), (2, 9))
    labels, _ = decode_part(Semantic(), lambda _: scores, image, place, outside)
    assert labels.shape == outside.shape
    assert not labels.any()
