"""A plan finds the task, the diameter and the geometry of synthetic data, in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unmask.build import new_segmenter
from unmask.data.pairs import Pair
from unmask.io import Image
from unmask.planning.plan import Plan, make_plan, measure, shrink_crops
from unmask.planning.text import describe_plan, plan_to_yaml
from unmask.recipe import load, parse
from unmask.shipped.starts import find_start
from unmask.yaml_text import read_yaml

Shape = tuple[int, ...]


def balls(
    shape: Shape, diameter: float, gap: float, *, voxel: Sequence[float] | None = None
) -> np.ndarray:
    """Balls of one diameter on a grid; along axis i a voxel is ``voxel[i]`` long."""
    voxel = voxel or (1.0,) * len(shape)
    labels = np.zeros(shape, np.uint16)
    pitch = diameter + gap
    starts = [np.arange(pitch / 2, n * v, pitch) for n, v in zip(shape, voxel, strict=True)]
    places = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(shape))
    axes = [(np.arange(n) + 0.5) * v for n, v in zip(shape, voxel, strict=True)]
    for number, place in enumerate(places, 1):
        squares = [
            ((a - c) ** 2).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            for axis, (a, c) in enumerate(zip(axes, place, strict=True))
        ]
        labels[sum(squares) <= (diameter / 2) ** 2] = number
    return labels


def pairs_of(
    labels: Sequence[np.ndarray], spacing: Sequence[float] | None = None, *, offset: float = 100.0
) -> list[Pair]:
    rng = np.random.default_rng(0)
    images = [
        (offset + 50 * (each > 0) + rng.normal(0, 5, each.shape)).astype(np.float32)
        for each in labels
    ]
    return [
        Pair(str(i), opened(image, spacing), opened(each, spacing))
        for i, (image, each) in enumerate(zip(images, labels, strict=True))
    ]


def opened(array: np.ndarray, spacing: Sequence[float] | None = None) -> Image:
    return Image.from_array(array, spacing=spacing, ndim=array.ndim)


def planned(labels: Sequence[np.ndarray], spacing: Sequence[float] | None = None) -> Plan:
    return make_plan(measure(pairs_of(labels, spacing)))


def value(plan: Plan, field: str) -> object:
    return next(each.value for each in plan.decisions if each.field == field)


@settings(max_examples=15)
@given(diameter=st.floats(8, 90), gap=st.floats(3, 40))
def test_the_diameter_of_disks_is_found(diameter, gap):
    size = int(4 * (diameter + gap)) + 1
    facts = measure(pairs_of([balls((size, size), diameter, gap)] * 2))
    assert facts.objects is not None
    assert facts.objects.median == pytest.approx(diameter, rel=0.1)


@settings(max_examples=5)
@given(diameter=st.floats(8, 24), gap=st.floats(3, 8))
def test_the_diameter_of_balls_is_found(diameter, gap):
    size = int(3 * (diameter + gap)) + 1
    facts = measure(pairs_of([balls((size,) * 3, diameter, gap)]))
    assert facts.objects is not None
    assert facts.objects.median == pytest.approx(diameter, rel=0.1)


@settings(max_examples=5)
@given(diameter=st.floats(16, 30), long=st.floats(2, 5), known=st.booleans())
def test_the_diameter_in_anisotropic_volumes_is_that_of_the_short_edges(diameter, long, known):
    voxel = (long, 1.0, 1.0)
    shape = (int(2.5 * (diameter + 6) / long) + 1, *(int(2.5 * (diameter + 6)) + 1,) * 2)
    labels = [balls(shape, diameter, 6, voxel=voxel)] * 2
    facts = measure(pairs_of(labels, voxel if known else None))
    assert facts.diameter == pytest.approx(diameter, rel=0.1)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("size", ["tiny", "huge"])
def test_tiny_and_huge_objects_are_brought_to_what_a_crop_can_hold(ndim, size):
    diameter, gap = {"tiny": (5, 4), "huge": ({2: 160, 3: 56}[ndim], 30)}[size]
    length = int(3 * (diameter + gap)) + 1
    more = length + diameter + gap
    labels = [
        balls((length,) * ndim, diameter, gap),
        balls((length,) * (ndim - 1) + (more,), diameter, gap),
    ]
    plan = planned(labels)
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "flows"
    assert plan.facts.diameter == pytest.approx(diameter, rel=0.1)
    scale = plan.recipe.data.scale or 1.0
    assert isinstance(scale, float)
    assert diameter * scale < min(plan.recipe.data.crop)
    # Making volumes larger would cost memory with the third power.
    assert diameter * scale > (8 if ndim == 2 else 4)


@pytest.mark.parametrize("shape", [(160, 160), (48, 48, 48)], ids=["2d", "3d"])
def test_separate_objects_are_learned_by_flows(shape):
    plan = planned([balls(shape, 11, 6), balls(shape, 12, 5)])
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "flows"
    assert plan.recipe.data.ndim == len(shape)


def test_the_network_is_that_of_the_start_weights():
    """Whatever the minutes: a narrow network could not take them over."""
    facts = measure(pairs_of([balls((160, 160), 11, 6)]))
    for minutes in (None, 5):
        made = make_plan(facts, minutes=minutes)
        assert value(made, "model.backbone") == load("cells").model.backbone.model_dump()
        assert any("phantoms2d" in each.reason for each in made.decisions)


@pytest.mark.parametrize("shape", [(160, 160), (48, 48, 48)], ids=["2d", "3d"])
def test_dense_objects_are_learned_by_affinities(shape):
    grid = np.indices(shape) // 12
    labels = (np.ravel_multi_index(grid, (14,) * len(shape)) + 1).astype(np.uint16)
    thin = (np.indices(shape) % 12 == 0).any(axis=0)
    plan = planned([np.where(thin, 0, labels)])
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "affinities"
    steps = value(plan, "task.offsets")
    assert isinstance(steps, list)
    assert [-1, *[0] * (len(shape) - 1)] in steps
    assert max(abs(step) for offset in steps for step in offset) <= 12
    # Without background between the objects, borders are drawn into the labels.
    assert "widen" not in plan.recipe.task.choice.options
    filled = planned([labels]).recipe.task
    assert filled is not None
    assert filled.choice.options["widen"] == [1] * len(shape)


def test_dense_objects_are_zoomed_less():
    grid = np.indices((160, 160)) // 12
    labels = np.asarray(np.ravel_multi_index(grid, (14, 14)) + 1, np.uint16)
    assert zooms(planned([labels])) == [0.8, 1.25]
    apart = balls((160, 160), 11, 6)
    assert zooms(planned([apart])) == [0.71, 1.4]


def zooms(plan: Plan) -> object:
    return plan.recipe.data.augment[0].choice.options["zoom"]


@pytest.mark.parametrize("shape", [(96, 96), (32, 40, 40)], ids=["2d", "3d"])
def test_values_that_recur_are_classes(shape):
    labels = []
    for shift in (0, 1, 2, 3):
        each = np.zeros(shape, np.uint8)
        front = (slice(6, 18),) * (len(shape) - 2)
        each[*front, 10 + shift : 18 + shift, 10:20] = 1
        each[*front, 18 + shift : 26, 10:20] = 2
        labels.append(each)
    plan = planned(labels)
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "semantic"
    assert value(plan, "task.classes") == 3
    # They keep their places, so images are neither mirrored nor turned far.
    spatial = plan.recipe.data.augment[0].choice.options
    assert (spatial["flip"], spatial["rotate"]) == (False, 15)


def test_other_values_than_numbers_of_classes_are_listed():
    labels = np.zeros((96, 96), np.uint8)
    labels[::8, ::8] = 85
    labels[4::8, ::8] = 170
    labels[::8, 4::8] = 255
    task = planned([labels, labels[::-1].copy()]).recipe.task
    assert task is not None
    assert task.choice.options["values"] == [0, 85, 170, 255]
    assert task.choice.options["classes"] == 4


def test_doubt_names_the_setting_that_changes_it():
    labels = np.zeros((64, 64), np.uint8)
    for number in (1, 2, 3):
        labels[20 * number - 15 : 20 * number - 5, 10:20] = number
    plan = planned([labels])
    task = next(each for each in plan.decisions if each.field == "task")
    assert not task.sure
    assert "--set task=" in str(task)
    assert any("3 objects" in note for note in plan.notes)


def test_classes_of_thick_sections_get_a_network_of_their_shape():
    voxel = (5.0, 1.0, 1.0)
    plan = planned([(balls((24, 128, 128), 24, 8, voxel=voxel) > 0).astype(np.uint8)], voxel)
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "semantic"
    strides = plan.recipe.model.backbone.choice.options["strides"]
    assert strides[0] == [1, 1, 1]
    assert strides[1] == [1, 2, 2]


@pytest.mark.parametrize("known", [True, False], ids=["voxel_size", "by_shape"])
def test_objects_of_thick_sections_get_flat_crops_and_the_start_weights(known):
    voxel = (5.0, 1.0, 1.0)
    labels = balls((24, 128, 128), 24, 8, voxel=voxel)
    plan = planned([labels], voxel if known else None)
    assert plan.facts.voxel[0] == pytest.approx(5, rel=0.25)
    depth, height, _ = plan.recipe.data.crop
    assert height >= 2.5 * depth
    start = find_start(3)
    assert start is not None
    assert plan.recipe.model.backbone.model_dump() == dict(start.backbone)
    spatial = plan.recipe.data.augment[0].choice.options
    assert spatial["plane_only"]
    assert any("voxel" in note for note in plan.notes) != known


@pytest.mark.parametrize(("diameter", "scale"), [(6, 2.3), (24, None), (120, 0.3)])
def test_images_are_resized_to_objects_that_networks_see(diameter, scale):
    size = 4 * (diameter + 8)
    plan = planned([balls((size, size), diameter, 8)])
    assert plan.recipe.data.scale == (None if scale is None else pytest.approx(scale, rel=0.1))


def test_images_are_fitted_where_labels_do_not_show_the_sizes_of_objects():
    small, large = balls((160, 160), 16, 8), balls((160, 160), 40, 8)
    assert planned([small]).recipe.infer.fit == "scale"
    assert planned([small] * 4).recipe.infer.fit == "scale"
    assert planned([small] * 5).recipe.infer.fit is False
    unlike = planned([small] * 5 + [large])
    assert unlike.recipe.infer.fit == "scale"
    assert any("by a factor of 2." in " ".join(line.split()) for line in describe_plan(unlike))
    # The rule was measured with objects of planes.
    assert planned([balls((48, 48, 48), 16, 8)]).recipe.infer.fit is False
    classes = np.repeat(np.arange(3, dtype=np.uint16), 40)[None] * np.ones((120, 1), np.uint16)
    assert planned([classes, classes]).recipe.infer.fit is False


def test_large_objects_of_long_voxels_are_resized_in_the_plane_alone():
    """Until voxels are cubes, the axis of few slices loses nothing."""
    voxel = (8.0, 1.0, 1.0)
    plan = planned([balls((16, 256, 256), 96, 16, voxel=voxel)], voxel)
    scale = plan.recipe.data.scale
    assert scale == (1.0, 0.25, 0.25)
    crop = plan.recipe.data.crop
    assert 24 < min(crop[1:]) <= 64
    assert plan.recipe.task is not None
    # Lengths of the task count voxels of the resized images.
    assert plan.recipe.task.choice.options["reach"] <= 24
    small = planned([balls((16, 256, 256), 24, 16, voxel=voxel)], voxel)
    assert small.recipe.data.scale is None


def test_objects_of_volumes_that_are_far_longer_than_wide_are_told_apart_by_boundaries():
    labels = np.zeros((12, 320, 320), np.uint16)
    for number in range(1, 9):
        labels[4:8, 34 * number : 34 * number + 16, 15 : 15 + 32 * number] = number
    tubes = planned([labels], (4.0, 1.0, 1.0))
    assert tubes.recipe.task is not None
    assert tubes.recipe.task.name == "boundary"
    assert tubes.recipe.task.choice.options["thickness"][1:] == [2, 2]
    assert new_segmenter(tubes.recipe).task
    # The longest object is seen nearly as a whole, and the narrow side stays visible.
    scale = tubes.recipe.data.scale
    assert isinstance(scale, tuple)
    assert scale[0] == 1
    assert 32 * 8 * scale[2] < 100
    assert 16 * scale[1] > 6
    flat = planned([labels[6]])
    assert flat.recipe.task is not None
    assert flat.recipe.task.name == "flows"


def test_long_objects_stay_whole_in_short_trainings():
    labels = np.zeros((520, 690), np.uint16)
    for number in range(1, 13):
        labels[40 * number : 40 * number + 20, 60 : 60 + 10 * number] = number
    made = planned([labels])
    assert value(made, "task") == "flows"
    small = shrink_crops(made, 0.1, 2.0, "little time")
    assert min(small.recipe.data.crop) >= 120
    assert made.facts.objects is not None
    assert min(small.recipe.data.crop) >= 1.4 * made.facts.objects.longest


def test_balls_of_very_different_sizes_are_not_long():
    labels = np.zeros((64, 64, 90), np.uint16)
    labels[:, :, 70:] = balls((64, 64, 20), 8, 8)
    labels[:, :, :64][balls((64, 64, 64), 60, 4) > 0] = 1000
    facts = measure(pairs_of([labels]))
    assert facts.objects is not None
    assert facts.objects.longest >= 6 * facts.objects.median
    plan = make_plan(facts)
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "flows"


def test_gray_images_saved_in_color_have_one_channel():
    labels = balls((96, 96), 14, 6)
    image = np.repeat((100 + 50 * (labels > 0)).astype(np.uint8)[..., None], 3, axis=-1)
    pairs = [Pair("x", Image.from_array(image, axes="YXC"), opened(labels))]
    assert value(make_plan(measure(pairs)), "data.channels") == 1
    image[..., 0] //= 2
    pairs = [Pair("x", Image.from_array(image, axes="YXC"), opened(labels))]
    assert value(make_plan(measure(pairs)), "data.channels") == 3


def test_ct_is_recognized_by_its_values():
    labels = np.zeros((24, 40, 40), np.uint8)
    for number in range(1, 6):
        labels[4 : 4 + 3 * number, 6 * number : 6 * number + 5, 5:15] = number
    plan = make_plan(measure(pairs_of([labels], (3.0, 1.0, 1.0), offset=-1000.0)))
    assert plan.recipe.data.normalize.name == "window"
    assert plan.recipe.task is not None
    assert plan.recipe.task.name == "semantic"


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((64, 64), np.uint8),
        np.pad(np.ones((1, 1), np.uint8), 31),
        np.ones((64, 64), np.uint8),
        balls((33, 70), 20, 4),
        balls((5, 90, 90), 12, 3),
        balls((64, 64, 1), 12, 3),
    ],
    ids=["empty", "one_pixel", "whole", "odd", "flat", "thin"],
)
def test_odd_labels_get_a_plan_that_can_be_built(labels):
    plan = planned([labels])
    assert new_segmenter(plan.recipe).task
    assert list(describe_plan(plan))
    if not labels.any():
        assert any("empty" in note for note in plan.notes)


def test_the_recipe_is_written_with_its_reasons():
    plan = planned([balls((96, 96), 14, 6)])
    text = plan_to_yaml(plan)
    assert parse(read_yaml(text, "plan"), source="plan") == plan.recipe
    comments = [line.strip() for line in text.splitlines() if line.strip().startswith("#")]
    assert any("objects" in line for line in comments)
    assert max(map(len, comments)) <= 100


def test_the_same_data_give_the_same_plan():
    labels = [balls((96, 96), 14, 6), balls((96, 96), 17, 6)]
    assert planned(labels).recipe == planned(labels).recipe


def test_a_few_whole_objects_do_not_speak_for_many_that_are_cut():
    """In thin stacks nearly all objects are cut, and those that are not are the smallest ones."""
    labels = balls((10, 160, 160), 14, 2)
    small = (slice(4, 7), slice(150, 153), slice(150, 153))
    labels[small] = labels.max() + 1
    facts = measure(pairs_of([labels]))
    assert facts.objects is not None
    assert facts.objects.count > 50
    assert facts.objects.median == pytest.approx(14, rel=0.2)


def test_stacks_of_few_slices_keep_their_kernels():
    """Ten slices cannot be halved often; planes are convolved at every level all the same."""
    plan = planned([balls((10, 160, 160), 14, 12)] * 2)
    backbone = value(plan, "model.backbone")
    assert isinstance(backbone, dict)
    kernels, strides = backbone["kernel"], backbone["strides"]
    # The crop holds hardly more than the slices.
    assert plan.recipe.data.crop[0] == 12
    assert strides[-1][0] < strides[-1][1]
    assert all(kernel == [3, 3, 3] for kernel in kernels)
    reason = next(each.reason for each in plan.decisions if each.field == "model.backbone")
    assert "few voxels" in reason
