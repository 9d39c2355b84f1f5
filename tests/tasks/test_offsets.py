"""Neighbours at offsets: checks, pairs, labels, mirrored scores."""

import numpy as np
import pytest
import torch

from unmask.errors import DataError, RecipeError
from unmask.labels.affinities import METHODS
from unmask.labels.edges import shift_slices
from unmask.tasks.offsets import (
    check_decoding,
    check_offsets,
    decode_scores,
    encode_labels,
    find_reach,
    inner,
    mirror_pairs,
    pairs_of,
    try_decoding,
    widen_borders,
    with_border,
)


def test_defaults_look_back_along_every_axis():
    found = check_offsets(None, 3, task="t")
    assert found[:3] == ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert len(found) == 12
    assert find_reach(found) == 27


@pytest.mark.parametrize(
    "offsets", [[], [[-1]], [[-1, 0, 0]], [[0, 0]], [[-1, 0], [-1, 0]]], ids=str
)
def test_wrong_offsets_are_refused(offsets):
    with pytest.raises(RecipeError, match="task t: expected different offsets of 2"):
        check_offsets(offsets, 2, task="t")


def test_offsets_outside_the_crop():
    assert inner([(-1, 0), (-9, 0)], (4, 4), task="t") == [(-1, 0)]
    with pytest.raises(RecipeError, match=r"inside a crop of \(4, 4\)"):
        inner([(-9, 0)], (4, 4), task="t")


@pytest.mark.parametrize("decoding", [{}, {"strides": [1, 1]}, {"name": 3}])
def test_decodings_have_names(decoding):
    with pytest.raises(RecipeError, match="name: mutex"):
        check_decoding(decoding, task="t")
    assert check_decoding("mutex", task="t") == {"name": "mutex"}


NEAR = ((-1, 0), (0, -1))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("waterz", {"threshold": 3}),
        ("waterz", {"threshold": None}),
        ("waterz", {"bins": 2.5}),
        ("waterz", {"watershed": {"sgima": 1}}),
        ("waterz", {"watershed": {"connectivity": 3}}),
        ("average", {"watershed": 3}),
        ("multicut", {"solver": "quick"}),
        ("mutex", {"strides": [1, 2, 3]}),
        ("mutex", {"join_above": float("nan")}),
        ("mutex", {"join_above": 1.5}),
        ("mutex", {"min_size": -3}),
        ("mutex", {"min_size": "ten"}),
        ("mutex", {"merges": [[5]]}),
        ("mutex", {"merges": [[5, 5.5]]}),
        ("mutex", {"alone_below": 2}),
    ],
    ids=str,
)
def test_wrong_options_of_decodings_are_named(name, option):
    # An option that is right is not blamed
    decoding = {"name": name, "min_size": 4, **option}
    ((key, value),) = option.items()
    with pytest.raises(RecipeError, match="task t: decoding") as caught:
        try_decoding(decoding, NEAR, task="t")
    assert f"found {key}={value!r} (" in str(caught.value)
    assert "Correct task.decoding" in str(caught.value)


@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
@pytest.mark.parametrize("name", METHODS)
def test_decodings_are_tried_for_any_number_of_axes(name, ndim):
    offsets = check_offsets(None, ndim, task="t")
    decoding = {"name": name, "min_size": 500, "merges": [[5, 5]], "alone_below": 0.5}
    assert try_decoding(decoding, offsets, task="t") == decoding


def test_decodings_need_near_offsets():
    with pytest.raises(RecipeError, match=r"found \[\[-3, 0\]\] \(offsets: expected at least one"):
        try_decoding("mutex", ((-3, 0),), task="t")


def test_pairs():
    values = torch.tensor([[[[1.0, 1, 0, 0, 2]]]])
    weight = torch.tensor([[[[1.0, 1, 1, 1, 0]]]])
    same, known = pairs_of(values, weight, (0, -1), apart=True)
    assert same.tolist() == [[[True, False, False, False]]]
    assert known.tolist() == [[[1, 1, 1, 0]]]
    same, _ = pairs_of(values, weight, (0, -1), apart=False)
    assert same.tolist() == [[[True, False, True, False]]]


def test_large_ids_stay_different():
    labels = np.array([[70_000, 2**40, 2**40 + 1, 0, 255]])
    target = encode_labels(labels, ignore_label=255, widen=None)
    assert target.values.tolist() == [[[1, 2, 3, 0, 0]]]
    assert target.weight.tolist() == [[[1, 1, 1, 1, 0]]]


@pytest.mark.parametrize("halo", [(0, 1, 1), (1, 2, 0), (0, 0, 0)])
def test_widening_is_what_a_loop_over_windows_gives(halo):
    labels = np.random.default_rng(0).integers(0, 3, (4, 6, 5)).repeat(2, axis=2)
    found = widen_borders(labels, halo)
    for voxel in np.ndindex(labels.shape):
        window = tuple(slice(max(0, v - h), v + h + 1) for v, h in zip(voxel, halo, strict=True))
        several = len(np.setdiff1d(np.unique(labels[window]), [0])) > 1
        assert found[voxel] == (0 if several else labels[voxel])


def test_borders_repeat_the_nearest_pair():
    scores = torch.arange(6.0).view(1, 2, 3)
    here, _ = shift_slices((4, 4), (-2, 1))
    assert scores[0].shape == torch.zeros(4, 4)[here].shape
    found = with_border(scores, (-2, 1), (4, 4))
    assert found[0].tolist() == [[0, 1, 2, 2], [0, 1, 2, 2], [0, 1, 2, 2], [3, 4, 5, 5]]


def test_diagonal_offsets_need_their_mirror_image():
    scores = torch.rand(1, 2, 5, 5)
    found = mirror_pairs(scores, [(-1, 1), (-1, -1)], 1, task="t")
    assert found.shape == scores.shape
    with pytest.raises(RecipeError, match=r"\[-1, -1\] or \[1, 1\]"):
        mirror_pairs(scores, [(-1, 1), (-1, 0)], 1, task="t")


def test_one_more_channel_is_the_foreground():
    scores = np.ones((3, 6, 6), np.float32)
    scores[2, :, 3:] = 0
    found = decode_scores(scores, [(-1, 0), (0, -1)], {"name": "mutex"}, threshold=0.5)
    assert (found[:, :3] == 1).all()
    assert (found[:, 3:] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_foreground_that_is_not_finite_is_refused(value):
    scores = np.ones((3, 6, 6), np.float32)
    scores[2, 1:3, 4] = value
    with pytest.raises(DataError, match=r"scores of the foreground: expected finite.*found 2 that"):
        decode_scores(scores, [(-1, 0), (0, -1)], {"name": "mutex"}, threshold=0.5)
