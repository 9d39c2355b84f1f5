"""A changed view: chance, intensities, covered boxes."""

import numpy as np
import pytest
import torch

from unmask.errors import RecipeError
from unmask.space.box import Box
from unmask.space.random import generator
from unmask.tasks.views import Change, Turn, View


@pytest.mark.parametrize("space", [(12, 12), (9, 12), (5, 12, 12)])
def test_draws_are_a_function_of_the_generator(space):
    view = View()
    first, again = (view.draw(generator(1, "view"), space) for _ in range(2))
    assert first == again
    many = [view.draw(generator(n, "view"), space) for n in range(40)]
    assert {change.turn.swap for change in many} == {False, space[-1] == space[-2]}
    assert max(len(change.boxes) for change in many) > 10
    for change in many:
        assert len({box.shape for box in change.boxes}) <= 1
        assert all(box == box.clip(Box.of(space)) for box in change.boxes)
        assert abs(change.gain[0] - 1) <= 0.05


def test_boxes_hold_the_mean_of_the_objects():
    image = torch.arange(32.0).view(2, 4, 4)
    objects = torch.zeros(4, 4)
    objects[0, :2] = 5
    change = Change(Turn((False, False)), boxes=(Box((2, 2), (4, 4)),))
    found = View().apply(image, objects, change)
    assert found[:, 3, 3].tolist() == [0.5, 16.5]
    assert torch.equal(found[:, :2], image[:, :2])
    assert image[0, 3, 3] == 15
    assert View().apply(image, objects * 0, change)[:, 3, 3].tolist() == [7.5, 23.5]
    assert View(fill="zero").apply(image, objects, change)[:, 3, 3].tolist() == [0, 0]


def test_intensities():
    image = torch.linspace(0, 1, 9).view(1, 3, 3)
    turn = Turn((False, False))
    found = View().apply(image, torch.zeros(3, 3), Change(turn, gain=(2.0, 1.0)))
    torch.testing.assert_close(found, 2 * image + 1)
    found = View().apply(image, torch.zeros(3, 3), Change(turn, exponent=2.0))
    torch.testing.assert_close(found, image**2)


def test_sides_of_one_axis_each():
    view = View(boxes=60, sides=((5, 10), (10, 20), (10, 20)))
    drawn = [view.draw(generator(n, "view"), (18, 40, 40)).boxes for n in range(20)]
    sizes = np.array([box.shape for boxes in drawn for box in boxes[:1]])
    assert (sizes.min(0) >= [5, 10, 10]).all()
    assert (sizes.max(0) <= [10, 20, 20]).all()


@pytest.mark.parametrize(
    "options", [{"p": 2.0}, {"boxes": -1}, {"sides": ((3, 1),)}, {"fill": "x"}]
)
def test_options_out_of_range(options):
    with pytest.raises(RecipeError, match=r"task\.view"):
        View(**options)
