"""Chosen images are typical, of different kinds, and not those that have labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.selection.choose import choose


def groups(sizes, *, seed=0, spread=0.05):
    """Points around corners that are far apart, and the group of each."""
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(len(sizes)), sizes)
    centers = 10 * np.eye(len(sizes), 6, dtype=np.float32)
    points = centers[kinds] + rng.normal(0, spread, (len(kinds), 6))
    return points.astype(np.float32), kinds


@settings(max_examples=20)
@given(st.lists(st.integers(8, 30), min_size=2, max_size=6), st.integers(0, 99))
def test_every_kind_is_chosen_once_the_largest_first(sizes, seed):
    points, kinds = groups(sizes, seed=seed)
    chosen = choose(points, len(sizes), seed=seed)
    assert sorted(kinds[each.index] for each in chosen) == list(range(len(sizes)))
    assert [each.like for each in chosen] == sorted(sizes, reverse=True)


def test_the_typical_image_of_a_kind_is_chosen():
    points, _ = groups([30, 20])
    points[0, 5] += 4
    assert choose(points, 2)[0].index != 0
    center = np.median(points[:30], axis=0)
    distance = np.linalg.norm(points[:30] - center, axis=1)
    assert distance[choose(points, 2)[0].index] <= np.median(distance)


def test_kinds_with_labels_come_last():
    points, kinds = groups([20, 10, 5])
    chosen = choose(points, 2, labeled=[3])
    assert [kinds[each.index] for each in chosen] == [1, 2]
    more = choose(points, 4, labeled=[3])
    assert 3 not in [each.index for each in more]
    assert len({each.index for each in more}) == 4


@pytest.mark.parametrize("count", [1, 3, 7, 50])
def test_no_image_is_chosen_twice(count):
    points, _ = groups([4, 3])
    chosen = choose(points, count)
    assert len({each.index for each in chosen}) == len(chosen) == min(count, 7)


def test_equal_images_are_no_error():
    chosen = choose(np.ones((5, 4), np.float32), 3)
    assert len({each.index for each in chosen}) == 3
    assert choose(np.ones((5, 4), np.float32), 3, labeled=range(5)) == []


def test_the_choice_is_a_function_of_its_arguments():
    points, _ = groups([9, 8, 7], spread=3)
    assert choose(points, 5) == choose(points, 5)


def test_with_a_model_labels_are_in_proportion_to_the_images_of_a_kind():
    # The rare kind varies, so k-means gives it more clusters than its share of images.
    rng = np.random.default_rng(1)
    common, rare = rng.normal(0, 1, (100, 6)), rng.normal(0, 4, (20, 6))
    rare[:, 0] += 30
    points = np.concatenate([common, rare]).astype(np.float32)
    # The model is unsure of every image of the rare kind.
    doubts = np.where(np.arange(120) < 100, 0.1, 0.8)
    labeled: list[int] = []
    for _ in range(8):
        labeled += [each.index for each in choose(points, 3, labeled=labeled, doubts=doubts)]
    assert 3 <= sum(index >= 100 for index in labeled) <= 6


def test_with_a_model_kinds_without_labels_are_covered_first():
    points, kinds = groups([40, 20, 5])
    doubts = np.where(kinds == 0, 0.9, 0.1)
    chosen = choose(points, 3, labeled=[3], doubts=doubts)
    assert {int(kinds[each.index]) for each in chosen} == {0, 1, 2}
    assert (kinds[chosen[0].index], chosen[0].like) == (1, 20)


def test_the_uncertain_one_of_the_typical_images_is_chosen():
    points, kinds = groups([30, 20])
    # The most uncertain image is not typical of its kind.
    points[4, 5] += 4
    doubts = np.linspace(0, 0.5, 50)
    doubts[4] = 1.0
    first = choose(points, 1, doubts=doubts, labeled=[49])[0].index
    typical = np.argsort(np.linalg.norm(points[:30] - points[:30].mean(0), axis=1))
    assert kinds[first] == 0
    assert first != 4
    assert doubts[first] >= np.median(doubts[typical[:15]])


@pytest.mark.parametrize("count", [1, 3, 7, 50])
def test_with_a_model_no_image_is_chosen_twice(count):
    points, _ = groups([4, 3])
    chosen = choose(points, count, labeled=[1], doubts=np.zeros(7))
    assert len({each.index for each in chosen} - {1}) == len(chosen) == min(count, 6)
