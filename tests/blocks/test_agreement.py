"""Blocks give the objects of the whole image, or the note names those on which they disagree."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn

from unmask.blocks.agreement import compare, find_shared
from unmask.blocks.grid import Grid
from unmask.build import build_segmenter
from unmask.data.normalize import NoNormalize
from unmask.infer.load import make_predictor
from unmask.infer.predict_blocks import predict_blocks
from unmask.infer.predictor import Predictor
from unmask.io import open_image, open_labels
from unmask.labels.stitch import digests
from unmask.recipe import load
from unmask.space.tiling import Tiling
from unmask.tasks.affinities import Affinities
from unmask.tasks.flows import Flows

SPACES = {2: ((110, 120), (40, 45)), 3: ((22, 50, 56), (12, 28, 30))}


class Same(nn.Module):
    def logits(self, image):
        return image


class GivenFlows(Flows):
    """Scores are given as they are."""

    def activate(self, logits):
        return logits


def predictor(task, ndim: int) -> Predictor:
    given: dict[str, Any] = {"normalize": NoNormalize(), "precision": "32"}
    return Predictor([Same()], task, task.channels(), Tiling((16,) * ndim), **given)


def smooth(rng, shape, sigma: float) -> np.ndarray:
    values = gaussian_filter(rng.normal(size=shape), sigma)
    return (values / values.std()).astype(np.float32)


def flow_scores(seed: int, ndim: int) -> np.ndarray:
    """What an untrained network gives: swirls that lead to objects of many pieces."""
    rng, space = np.random.default_rng(seed), SPACES[ndim][0]
    flows = np.stack([smooth(rng, space, 2.0) for _ in range(ndim)])
    return np.concatenate([flows, smooth(rng, space, 3.0)[None] > 0]).astype(np.float32)


def near_and_far(ndim: int) -> list[list[int]]:
    axes = range(ndim)
    return [[-far if a == b else 0 for b in axes] for far in (1, 4) for a in axes]


def affinity_scores(seed: int, ndim: int) -> np.ndarray:
    rng, space = np.random.default_rng(seed), SPACES[ndim][0]
    return np.stack([3 * smooth(rng, space, 1.2) + 1 for _ in near_and_far(ndim)])


def in_blocks(model: Predictor, image: np.ndarray, ndim: int) -> tuple[np.ndarray, list[str]]:
    heard: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "a.tif"
        predict_blocks(model, image, out, block=SPACES[ndim][1], say=heard.append)
        found = open_labels(out, ndim=ndim).read()[0]
    return found, [line for line in heard if "halo" in line]


def different(whole: np.ndarray, found: np.ndarray) -> set[int]:
    """Ids of ``found`` that are not exactly one object of ``whole``."""
    pairs = np.unique(np.stack([whole.ravel(), found.ravel()]), axis=1)
    wrong = set()
    for side in (0, 1):
        ids, counts = np.unique(pairs[side], return_counts=True)
        several = np.isin(pairs[side], ids[counts > 1])
        wrong |= set(pairs[1][several].tolist())
    return wrong - {0}


def check(model: Predictor, image: np.ndarray, ndim: int) -> None:
    """Equal, or a note; with the halo of the note, again."""
    whole, notes = model.predict(image).labels, []
    for _ in range(6):
        found, notes = in_blocks(model, image, ndim)
        wrong = different(whole, found) or not np.array_equal(whole > 0, found > 0)
        assert not wrong or notes
        if not notes:
            return
        reach = re.search(r"task\.reach=(\d+)", notes[0])
        assert reach is not None
        task: Any = model.task
        assert int(reach[1]) > task.reach
        model = replace(model, task=replace(task, reach=int(reach[1])))
    raise AssertionError(f"No halo was large enough: {notes}")


@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
@given(seed=st.integers(0, 10**6), reach=st.sampled_from([6, 12, 20]), error=st.booleans())
def test_random_flows(ndim, seed, reach, error):
    task = GivenFlows(ndim, reach=reach, flow_error=0.9 if error else 0.0, min_size=5)
    check(predictor(task, ndim), flow_scores(seed, ndim), ndim)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("decoding", ["mutex", "waterz", "average", "multicut"])
def test_random_affinities(ndim, decoding):
    task = Affinities(ndim, offsets=near_and_far(ndim), reach=12, decoding={"name": decoding})
    check(predictor(task, ndim), affinity_scores(1, ndim), ndim)


@pytest.mark.parametrize(("preset", "ndim"), [("cells", 2), ("cells3d", 3)])
def test_an_untrained_network(preset, ndim, tmp_path):
    """Its scores depend on the windows, so they have to be those of the whole image in the halo."""
    torch.manual_seed(0)
    recipe = load(preset).with_settings(
        [
            "model.backbone={name: resunet, width: 4, depth: 3}",
            f"infer.tile={[8, 24, 24][-ndim:]}",
            "data.channels=1",
            "infer.precision='32'",
            "task.reach=16",
            "task.flow_error=0.0",
            "task.min_size=0",
        ]
    )
    model = make_predictor([build_segmenter(recipe).eval()], recipe)
    image = smooth(np.random.default_rng(0), SPACES[ndim][0], 1.5)
    check(model, image, ndim)
    whole = model.predict(image, keep_scores=True)
    stored = tmp_path / "scores.zarr"
    predict_blocks(model, image, tmp_path / "a.tif", block=SPACES[ndim][1], scores=stored)
    assert whole.scores is not None
    assert np.array_equal(open_image(stored, ndim=ndim).read(), whole.scores)


def test_an_object_of_several_pieces_is_one():
    """Its pieces lie in blocks whose faces none of them touches."""
    labels = np.zeros((40, 60), np.int32)
    labels[4:8, 10:14] = labels[4:8, 50:54] = labels[30:34, 28:32] = 1
    grid = Grid((40, 60), (20, 20), 60)
    views = {number: find_shared(labels, grid, number) for number in range(len(grid))}
    verdict = compare((0, 2), views[0], views[2])
    assert verdict.same.tolist() == [[1, 1]]
    assert not any(len(side) for side in verdict.other)
    assert compare((0, 1), views[0], views[1]).same.size == 0
    other = np.where(np.arange(60) < 52, labels, 0)
    verdict = compare((0, 2), views[0], find_shared(other, grid, 2))
    assert [side.tolist() for side in verdict.other] == [[1], [1]]


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_digests_do_not_depend_on_the_cut(ndim):
    rng = np.random.default_rng(ndim)
    space = (9, 8, 7, 6)[:ndim]
    labels = np.zeros(space, np.int32)
    inner = tuple(slice(2, n - 2) for n in space)
    labels[inner] = rng.integers(0, 4, tuple(n - 4 for n in space))
    ids = np.flatnonzero(np.bincount(labels.ravel()))[1:]
    whole = digests(labels, ids, (0,) * ndim, space)
    assert len(set(whole.tolist())) == len(ids)
    cut = labels[tuple(slice(1, n) for n in space)]
    assert np.array_equal(digests(cut, ids, (1,) * ndim, space), whole)
    moved = digests(cut, ids, (0,) * ndim, space)
    assert (moved != whole).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_paths_do_not_depend_on_where_an_array_begins(ndim):
    """Positions far from the origin are rounded as those near to it."""
    # Short steps and background around: no path is stopped by the border of an array.
    scores = flow_scores(3, ndim).clip(-1, 1)
    for axis in range(ndim):
        foreground = np.moveaxis(scores[-1], axis, 0)
        foreground[:4] = foreground[-4:] = 0
    shift = (5000, 7)[:ndim] if ndim == 2 else (300, 7, 3)
    space = scores.shape[1:]
    large = np.zeros((ndim + 1, *(n + s for n, s in zip(space, shift, strict=True))), np.float32)
    place = tuple(slice(s, s + n) for n, s in zip(space, shift, strict=True))
    large[(slice(None), *place)] = scores
    task = GivenFlows(ndim, flow_error=0.0, max_fraction=1.0)
    assert np.array_equal(task.decode(large, None)[place], task.decode(scores, None))
