import numpy as np
import pytest
import torch

from unmask.build.assembly import assemble_segmenter
from unmask.build.semisupervised import build_unlabeled_crops
from unmask.data.pairs import Pair
from unmask.errors import RecipeError
from unmask.io import Image
from unmask.recipe import load
from unmask.semisupervised.base import SemiSupervised
from unmask.semisupervised.pseudo_labels import agree_on_objects
from unmask.semisupervised.strong import strong_view
from unmask.space.batch import Batch

SMALL = ["model.backbone.width=4", "model.backbone.depth=2", "data.crop=[16, 16]"]


def assembled(*settings):
    return assemble_segmenter(load("semantic2d").with_settings([*SMALL, *settings]))


def batch(seed=3, unlabeled=True):
    rng = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, 16, 16, generator=rng)
    return Batch(
        image,
        (image > 0).float(),
        torch.ones(2, 1, 16, 16),
        seed=seed,
        unlabeled=image.flip(0) if unlabeled else None,
    )


def test_the_model_of_a_run_is_the_segmenter_alone():
    objective = assembled("train.unlabeled=pseudo_labels").objective
    plain = assembled().objective
    assert isinstance(objective, SemiSupervised)
    assert set(objective.finished.state_dict()) == set(plain.state_dict())
    # Weights of the segmenter have one name each, those of teachers another.
    names = [name for name, _ in objective.named_parameters() if not name.startswith("method.")]
    assert sorted(names) == sorted(name for name, _ in plain.named_parameters())


def test_the_unlabeled_loss_rises_over_the_ramp():
    objective = assembled(
        "train.unlabeled={name: consistency, weight: 2, ramp: 0.5}", "train.steps=20"
    ).objective
    shares = []
    for _ in range(12):
        shares.append(objective.share())
        objective.after_update()
    assert shares[0] == 0
    assert shares[5] == pytest.approx(1.0)
    assert shares[10:] == [2.0, 2.0]


def test_teachers_start_from_the_weights_that_the_run_starts_with():
    objective = assembled("train.unlabeled={name: consistency, ramp: 0}").objective
    with torch.no_grad():
        for weight in objective.head.parameters():
            weight.add_(0.5)
    step = objective.step(batch())
    assert {"loss", "unlabeled"} <= set(step.logs)
    assert torch.equal(objective.method.teacher.network.head.weight, objective.head.weight)
    without = objective.step(batch(unlabeled=False))
    assert step.loss > without.loss
    assert "unlabeled" not in without.logs


def test_training_mode_reaches_the_students_and_not_the_teachers():
    objective = assembled("train.unlabeled=consistency").objective.train()
    assert objective.backbone.training
    assert objective.finished.training
    assert not any(part.training for part in objective.method.teacher.modules())
    assert not objective.eval().finished.training


@pytest.mark.parametrize("options", ["batch: 0", "weight: 0", "ramp: 2", "weight: high"])
def test_wrong_amounts_are_refused(options):
    with pytest.raises(RecipeError, match="a batch of 1 or more, a weight above 0"):
        assembled(f"train.unlabeled={{name: consistency, {options}}}")
    with pytest.raises(RecipeError, match="Did you mean"):
        assembled("train.unlabeled=consistancy")


def test_unlabeled_crops_are_moved_and_not_changed_otherwise():
    assembly = assembled("train.unlabeled={name: consistency, batch: 3}")
    image = Image.from_array(np.full((30, 30), 7, np.uint8), ndim=2)
    crops = build_unlabeled_crops(assembly.recipe, [Pair("a", image)], pipeline=assembly.pipeline)
    found = crops.batch(0)
    assert found.image.shape == (3, 1, 16, 16)
    assert found.values is None
    # Noise, contrast and the like would show in a flat image.
    assert found.image.std() < 1e-5


def test_strong_views_change_what_is_seen_and_not_where():
    crops = torch.zeros(4, 1, 32, 32)
    crops[..., 8:24, 8:24] = 1
    view = strong_view(crops, 5)
    assert torch.equal(view, strong_view(crops, 5))
    assert not torch.equal(view, strong_view(crops, 6))
    inside, outside = view[..., 10:22, 10:22].mean(), view[..., :6, :].mean()
    assert inside > outside + 0.3


def test_objects_agree_if_they_overlap_enough():
    first = np.zeros((10, 10), int)
    first[1:5, 1:5], first[6:9, 6:9] = 1, 2
    second = np.zeros_like(first)
    second[1:5, 1:4], second[6:7, 6:7] = 7, 3
    same = agree_on_objects(first, second, 0.6)
    assert same[2, 2]
    assert not same[7, 7]
    assert not same[6, 6]
    assert same[0, 0]
