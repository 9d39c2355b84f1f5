"""Thin or contradictory evidence: the plan says what it assumes and which setting changes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unmask.data.channel_choice import select_channels
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.planning.plan import Plan, make_plan, measure
from unmask.recipe import Recipe


def pair(labels: np.ndarray, spacing=None, *, channels: int = 1) -> Pair:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 5, (channels, *labels.shape)).astype(np.float32)
    values[0] += 50 * (labels > 0)
    image = Image.from_array(values, spacing=spacing, ndim=labels.ndim)
    return Pair("a", image, Image.from_array(labels, spacing=spacing, ndim=labels.ndim))


def squares(places, size: int = 12, shape=(96, 96)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    for number, place in enumerate(places, 1):
        labels[tuple(slice(a, a + size) for a in place)] = number
    return labels


def plan_of(*pairs: Pair) -> Plan:
    return make_plan(measure(pairs))


def task_of(recipe: Recipe) -> str:
    assert recipe.task is not None
    return recipe.task.name


def note_on(plan: Plan, text: str) -> str:
    found = [note for note in plan.notes if text in note]
    assert len(found) == 1, plan.notes
    return found[0]


def test_three_values_may_be_classes_or_three_cells():
    rng = np.random.default_rng(1)
    anywhere = [squares(rng.integers(0, 80, (3, 2)) // 26 * 26 + [[0, 0]] * 3) for _ in range(4)]
    moved = plan_of(*map(pair, anywhere))
    note = note_on(moved, "assumed to be")
    assert ("--set task=semantic" in note) == (task_of(moved.recipe) == "flows")
    assert "3 or more is sure" in note
    fixed = [squares([(5 + i, 5), (40, 40 + i), (70, 60)]) for i in range(4)]
    kept = plan_of(*map(pair, fixed))
    assert task_of(kept.recipe) == "semantic"
    note = note_on(kept, "assumed to be classes, not objects")
    assert "but 100% of the values are one connected piece each" in note
    assert "--set task=flows" in note


@pytest.mark.parametrize(
    ("places", "values", "noted"),
    [
        (((4, 4), (40, 40), (70, 10)), (255, 255, 255), True),
        (((4, 4),), (255,), False),
        (((4, 4), (40, 40), (70, 10)), (1, 1, 2), False),
    ],
)
def test_a_mask_of_separate_pieces_may_show_objects(places, values, noted):
    numbers = np.array([0, *values], np.uint8)[squares(places)]
    plan = plan_of(pair(numbers), pair(numbers))
    if noted:
        assert task_of(plan.recipe) == "semantic"
        note = note_on(plan, "255, in 3 separate pieces per image")
        assert "number them first, for example with skimage.measure.label" in note
    else:
        assert not [note for note in plan.notes if "separate pieces" in note]


def test_one_label_with_one_object():
    plan = plan_of(pair(squares([(30, 30)])))
    assert "--set task=flows" in note_on(plan, "assumed to be classes")
    chosen = plan.recipe.with_settings(["task=flows"])
    assert task_of(chosen) == "flows"


@pytest.mark.parametrize("shape", [(64, 64), (16, 40, 40)], ids=["2d", "3d"])
def test_an_object_larger_than_the_image(shape):
    full = np.ones(shape, np.uint8)
    assert "data.ignore_label=0" in note_on(plan_of(pair(full)), "no background")
    many = np.zeros(shape, np.uint16)
    many[..., : shape[-1] // 2] = 301
    many[..., shape[-1] // 2 + 2 :] = 302
    others = [many, many + 7 * (many > 0), many + 40 * (many > 0)]
    plan = plan_of(*map(pair, others))
    if plan.facts.objects is not None:
        assert "data.scale" in note_on(plan, "cut by the border")


def test_empty_labels():
    empty = np.zeros((96, 96), np.uint8)
    assert "nothing can be learned" in note_on(plan_of(pair(empty)), "All labels are empty")
    some = plan_of(pair(squares([(10, 10), (50, 50)])), pair(empty))
    assert "leave out those that are not labeled" in note_on(some, "1 of 2 label images is empty")


def test_spacing_in_one_file_only():
    labels = squares([(2, 5, 5), (2, 30, 30)], 10, (14, 48, 48))
    plan = plan_of(pair(labels, (2.0, 1.0, 1.0)), pair(labels))
    assert "assumed to have the same" in note_on(plan, "1 of 2 images has a voxel size (2 x 1 x 1")
    assert plan.recipe.data.spacing is None
    assert not next(each for each in plan.decisions if each.field == "data.spacing").sure


def test_two_channels_one_of_which_shows_the_objects():
    plan = plan_of(pair(squares([(10, 10), (50, 50)]), channels=2))
    assert plan.recipe.data.channels == 2
    assert "channel 1 may be left out" in note_on(plan, "All 2 channels are used")


def test_images_of_very_different_scales():
    small = squares([(4, 4), (4, 30), (40, 60)], 8)
    large = squares([(10, 10), (10, 200), (200, 100)], 80, (320, 320))
    note = note_on(plan_of(pair(small), pair(large)), "differ by a factor of 10")
    assert "data.spacing" in note


def test_the_evidence_is_short_and_names_no_values_that_are_missing():
    empty = np.zeros((96, 96), np.uint8)
    plan = plan_of(pair(empty), pair(empty))
    task = next(each for each in plan.decisions if each.field == "task")
    assert str(task).startswith("task = semantic. No label value besides 0 was found.")
    for each in ([(4, 4), (30, 30), (60, 60)], [(30, 30)]):
        assert all(len(note) < 400 for note in plan_of(pair(squares(each))).notes)


def test_channels_have_their_numbers_in_the_file():
    """After --channels 1,2,0 the faint ones are not called 1 and 2."""
    given = pair(squares([(10, 10), (50, 50)]), channels=3)
    chosen = replace(given, image=select_channels(given.image, [2, 0]))
    note = note_on(plan_of(chosen), "are used. Objects stand out")
    assert note.startswith("Channels 2 and 0 are used")
    assert note.endswith("channel 2 may be left out: --channels 0.")
