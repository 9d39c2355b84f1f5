"""Mirrored views: which axes, and which of them share a run over the image."""

from __future__ import annotations

import pytest
import torch

from unmask.errors import RecipeError
from unmask.infer.views import Views, mirror


def test_views_of_a_recipe():
    assert Views.of(2).flips == ((),)
    assert Views.of(2, tta=False) == Views()
    assert Views.of(3, tta=True).flips == ((), (0,), (1,), (2,))
    assert Views.of(2, tta=[[], [0, 1]]).flips == ((), (0, 1))


@pytest.mark.parametrize("tta", [[[2]], [], [[-1]]])
def test_axes_that_images_do_not_have_are_refused(tta):
    with pytest.raises(RecipeError, match=r"lists of axes 0 \.\. 1"):
        Views.of(2, tta=tta)


def test_views_share_a_run_unless_their_positions_are_mirrored():
    flips = ((), (0,))
    assert Views(flips).runs == [flips]
    assert Views(flips, mirror_positions=True).runs == [((),), ((0,),)]


@pytest.mark.parametrize("space", [(4, 5), (3, 4, 5)])
def test_axes_are_mirrored_together(space):
    image = torch.rand(1, 2, *space)
    assert mirror(image, ()) is image
    assert torch.equal(mirror(image, (0, 1)), image.flip(2).flip(3))
