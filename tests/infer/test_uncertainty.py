"""Uncertainty of voxels and objects: the same at once and in blocks, in 2D and 3D."""

# Scores and uncertainty are there because they are asked for.
# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false, reportArgumentType=false

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from unmask.calibration import Calibration
from unmask.data.normalize import NoNormalize
from unmask.infer.load import compare_flips
from unmask.infer.predict_blocks import plan_work, run_work
from unmask.infer.predictor import Predictor
from unmask.infer.uncertainty import (
    disagreement,
    object_uncertainty,
    voxel_uncertainty,
)
from unmask.infer.views import Views
from unmask.io import Image, open_image, open_labels
from unmask.labels import labels_to_flows
from unmask.measurement import Table
from unmask.space.tiling import Tiling
from unmask.tasks.affinities import Affinities
from unmask.tasks.flows import Flows
from unmask.tasks.semantic import Semantic

SHAPES = [(40, 44), (12, 20, 24)]


class Same(nn.Module):
    """A network whose logits are the image; ``lean`` adds more from left to right."""

    def __init__(self, lean: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.lean = lean

    def logits(self, image):
        return image + self.lean * torch.linspace(-1, 1, image.shape[-1])


def squares(shape):
    """Two objects far from each other, the second one with an undecided foreground."""
    labels = np.zeros(shape, np.int32)
    first = tuple(slice(2, 2 + n // 3) for n in shape)
    second = tuple(slice(n // 2 + 2, n - 3) for n in shape)
    labels[first], labels[second] = 1, 2
    flows = labels_to_flows(labels)
    foreground = np.where(labels == 1, 8.0, np.where(labels == 2, 0.4, -8.0))[None]
    return np.concatenate([5 * flows, foreground]).astype(np.float32)


def predictor(shape, *networks):
    task = Flows(len(shape), flow_error=0.0, min_size=0, max_fraction=1.0, reach=12)
    channels = len(shape) + 1
    tiling = Tiling(tuple(min(16, n) for n in shape))
    return Predictor(networks or (Same(),), task, channels, tiling, normalize=NoNormalize(),
                     precision="32")  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_the_undecided_object_is_uncertain(shape):
    result = predictor(shape).predict(squares(shape), uncertainty=True)
    assert result.uncertainty is not None
    assert result.uncertainty.shape == shape
    assert 0 <= result.uncertainty.min() <= result.uncertainty.max() <= 1
    table = result.objects
    assert len(table) == 2
    assert table["uncertainty"][0] + 0.3 < table["uncertainty"][1]
    assert np.allclose(table["score"], 1 - table["uncertainty"])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_calibration_makes_it_a_probability(shape):
    known = {"scores": Calibration(4.0, -8.0, 9, 9)}
    result = replace(predictor(shape), calibrations=known).predict(squares(shape), uncertainty=True)
    table = result.objects
    assert np.allclose(table["score"], known["scores"].probability(table["uncertainty"]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("average", ["scores", "logits"])
def test_comparing_views_changes_no_score(shape, average):
    alone = replace(predictor(shape, Same(1.5)), average=average)
    compared = compare_flips(alone)
    assert len(compared.compared) == len(shape)
    image = squares(shape)
    scores = alone.predict(image, keep_scores=True).scores
    one, many = (each.predict(image, keep_scores=True, uncertainty=True)
                 for each in (alone, compared))  # fmt: skip
    assert np.array_equal(one.scores, scores)
    assert np.array_equal(many.scores, scores)
    assert np.array_equal(many.labels, one.labels)
    assert (many.uncertainty >= one.uncertainty - 1e-6).all()
    assert many.uncertainty.mean() > one.uncertainty.mean() + 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_models_that_disagree_are_uncertain(shape):
    image = squares(shape)
    alike = predictor(shape, Same(), Same()).predict(image, uncertainty=True)
    other = predictor(shape, Same(2.0), Same(-2.0)).predict(image, uncertainty=True)
    assert other.uncertainty.mean() > alike.uncertainty.mean() + 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_give_the_same(shape, tmp_path):
    """The path in blocks, with memory of a few lines."""
    image = Image.from_array(squares(shape), ndim=len(shape))
    whole = compare_flips(predictor(shape, Same(1.0)))
    once = whole.predict(image, keep_scores=True, uncertainty=True)
    cut = replace(whole, block=tuple(max(8, n // 2) for n in shape))
    paths = {"scores": tmp_path / "s.zarr", "uncertainty": tmp_path / "u.zarr"}
    work = plan_work(cut, image, **paths)
    assert work.forecast.blocks > 1
    run_work(work, work.output(tmp_path / "labels.tif"))
    doubt = open_image(paths["uncertainty"], ndim=len(shape))
    assert np.allclose(doubt.read()[0], once.uncertainty, atol=1e-6)
    scores = open_image(paths["scores"], ndim=len(shape)).read()
    assert np.allclose(scores, once.scores, atol=1e-6)
    found = object_uncertainty(open_labels(tmp_path / "labels.tif", ndim=len(shape)), doubt)
    assert np.allclose(np.sort(found.values), np.sort(once.objects["uncertainty"]), atol=1e-5)


def test_tasks_say_what_is_undecided():
    half, sure = np.full((2, 3, 3), 0.5, np.float32), np.stack([np.ones((3, 3)), np.zeros((3, 3))])
    for task in (Semantic(), Affinities(2, offsets=[[-1, 0], [0, -1]])):
        assert np.allclose(voxel_uncertainty(task, half), 1)
        assert np.allclose(voxel_uncertainty(task, sure.astype(np.float32)), 0)


def test_disagreement_is_between_zero_and_one():
    yes, no = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    assert torch.allclose(disagreement([yes, no]), torch.ones(1, 1, 4, 4))
    assert torch.allclose(disagreement([yes, yes]), torch.zeros(1, 1, 4, 4))


def test_a_task_that_cannot_mirror_compares_nothing():
    task = Affinities(2, offsets=[[-1, 0], [0, -1], [-3, -2]])
    lonely = Predictor((Same(),), task, 3, Tiling((16, 16)), normalize=NoNormalize())
    assert compare_flips(lonely).compared == ()
    sides = replace(predictor((40, 44)), views=Views(((), (0,)), mirror_positions=True))
    assert not compare_flips(sides).compares


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("extra", [(), ("--scores",)])
def test_the_command_writes_it(tmp_path, command, phantoms, trained, ndim, extra):
    images, out = phantoms[ndim] / "images", tmp_path / "out"
    where = ("--model", trained[ndim], "--out", out, "--table", *extra)
    answer = command("predict", images, *where)
    assert answer.code == 0, answer.err
    with (out / "objects.csv").open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    # A network that is hardly trained may find nothing.
    assert rows == [] or "score" in (reader.fieldnames or ())
    assert all(0 <= float(row["uncertainty"]) <= 1 for row in rows)
    stores = sorted(path.name for path in (out / "uncertainty").glob("*.zarr"))
    assert bool(stores) == bool(extra)
    assert not (out / ".predict").exists()


def test_ids_without_a_value_have_none():
    table = Table({"id": np.array([2, 5])}).extend({"score": {2: 0.5}})
    assert table["score"][0] == 0.5
    assert np.isnan(table["score"][1])
