"""Composition: geometry first, order, independence of the batch, refusals."""

from dataclasses import dataclass

import pytest
import torch

from unmask.data import AUGMENTATIONS
from unmask.data.augment.apply import augment, read_shape
from unmask.data.augment.intensity import Brightness, Contrast
from unmask.data.augment.spatial import Spatial
from unmask.data.augment.texture import Noise
from unmask.data.warp import center
from unmask.errors import DataError, RecipeError
from unmask.lookup import Choice, build
from unmask.space.random import generator

WARP = Spatial(rotate=180, zoom=(0.8, 1.2), elastic=2, elastic_grid=12)


def chain():
    return [WARP, *(constructor() for name, constructor in AUGMENTATIONS.items()
                    if name not in {"spatial", "zoom"})]  # fmt: skip


def rngs(count, step=0):
    return [generator(7, "augment", step, b) for b in range(count)]


@pytest.mark.parametrize("crop", [(20,), (16, 18), (6, 10, 8)])
def test_every_part_together_in_any_number_of_axes(crop):
    parts = chain()
    read = read_shape(crop, parts)
    images = torch.rand(4, 2, *read)
    labels = torch.randint(0, 5, (4, *read))
    result, moved = augment(images, labels, rngs(4), crop=crop, parts=parts)
    assert result.shape == (4, 2, *crop)
    assert moved is not None
    assert moved.shape == (4, *crop)
    assert moved.dtype == torch.int64
    assert torch.isfinite(result).all()
    again, moved_again = augment(images, labels, rngs(4), crop=crop, parts=parts)
    assert moved_again is not None
    assert torch.equal(result, again)
    assert torch.equal(moved, moved_again)
    other, _ = augment(images, labels, rngs(4, step=1), crop=crop, parts=parts)
    assert not torch.equal(result, other)


def test_a_sample_does_not_depend_on_its_batch():
    parts = chain()
    read = read_shape((16, 16), parts)
    images, labels = torch.rand(5, 1, *read), torch.randint(0, 9, (5, *read))
    together, moved = augment(images, labels, rngs(5), crop=(16, 16), parts=parts)
    assert moved is not None
    for b in range(5):
        alone, ids = augment(
            images[b : b + 1], labels[b : b + 1], rngs(5)[b : b + 1], crop=(16, 16), parts=parts
        )
        assert ids is not None
        assert torch.equal(alone[0], together[b])
        assert torch.equal(ids[0], moved[b])


def test_without_geometry_the_centre_is_cut_out():
    images, labels = torch.rand(2, 1, 9, 10), torch.arange(180).reshape(2, 9, 10)
    result, moved = augment(images, labels, rngs(2), crop=(5, 4), parts=[])
    assert torch.equal(result, images[..., 2:7, 3:7])
    assert moved is not None
    assert torch.equal(moved, labels[..., 2:7, 3:7])
    assert read_shape((5, 4), [Contrast()]) == (5, 4)
    assert read_shape((5, 4), [WARP]) == WARP.read_shape((5, 4))


def test_centre_mirrors_what_reaches_outside():
    assert center(torch.arange(3)[None], (7,)).tolist() == [[2, 1, 0, 1, 2, 1, 0]]
    assert center(torch.tensor([[4]]), (3,)).tolist() == [[4, 4, 4]]


def test_intensities_keep_their_order_and_follow_geometry():
    images = torch.rand(1, 1, 8, 8)
    add, stretch = Brightness((1.0, 1.0), p=1), Contrast((3.0, 3.0), p=1)
    flip = Spatial(rotate90=False)
    first, _ = augment(images, None, rngs(1), crop=(8, 8), parts=[add, stretch])
    torch.testing.assert_close(first, (images - images.mean()) * 3 + images.mean() + 1)
    mixed, _ = augment(images, None, rngs(1), crop=(8, 8), parts=[stretch, flip, add])
    sorted_values = first.flatten().sort().values
    torch.testing.assert_close(mixed.flatten().sort().values, sorted_values)


def test_the_input_stays_as_it_is():
    images, labels = torch.rand(2, 1, 24, 24), torch.randint(0, 9, (2, 24, 24))
    kept = images.clone(), labels.clone()
    augment(images, labels, rngs(2), crop=(16, 16), parts=chain())
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])


@dataclass(frozen=True)
class Objects:
    """Sets object voxels to 9."""

    def draw(self, rng, shape):
        return rng.random()

    def apply_labeled(self, images, labels, params):
        return torch.where(labels[:, None] > 0, 9.0, images)


def test_parts_that_need_labels_get_the_moved_ones():
    images, labels = torch.rand(2, 1, 12, 12), torch.zeros(2, 12, 12, dtype=torch.int64)
    labels[:, :6] = 1
    result, moved = augment(images, labels, rngs(2), crop=(12, 12), parts=[Spatial(), Objects()])
    assert moved is not None
    assert torch.equal(result[:, 0] == 9, moved > 0)
    with pytest.raises(RecipeError, match=r"Objects.*expected labels"):
        augment(images, None, rngs(2), crop=(12, 12), parts=[Objects()])


def test_two_geometric_parts_are_refused():
    with pytest.raises(RecipeError, match="at most one geometric part, found 2"):
        augment(torch.rand(1, 1, 4, 4), None, rngs(1), crop=(4, 4), parts=[WARP, Spatial()])


@pytest.mark.parametrize(
    ("images", "labels", "count"),
    [
        (torch.rand(2, 1, 4), None, 2),
        (torch.rand(2, 1, 4, 4), None, 1),
        (torch.rand(2, 1, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64), 2),
    ],
)
def test_shapes_that_do_not_fit_are_refused(images, labels, count):
    with pytest.raises(DataError, match="expected images"):
        augment(images, labels, rngs(count), crop=(4, 4), parts=[])


def test_recipes_build_parts_from_lists_and_numbers():
    part = build(
        Choice("spatial", {"rotate": 15, "zoom": [0.8, 1.2]}), AUGMENTATIONS, "augmentation"
    )
    assert part.read_shape((32, 32)) > (32, 32)
    noise = build(Choice("noise", {"std": [0, 0.2]}), AUGMENTATIONS, "augmentation")
    result, _ = augment(torch.rand(1, 1, 8, 8), None, rngs(1), crop=(8, 8), parts=[part, noise])
    assert result.shape == (1, 1, 8, 8)
    assert isinstance(noise, Noise)
