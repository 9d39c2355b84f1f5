"""Medical volumes that are not what they should be: refused with the file's name, or defined."""

import nibabel
import numpy as np
import pytest

from unmask import recipe as recipes
from unmask.build import build_task, encoder
from unmask.data.pairs import Layout, audit_pairs
from unmask.metrics import auc, evaluate_pair

SHAPE = (6, 5, 4)


def write(path, array, affine=None):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def problems(folder, *, classes=3):
    recipe = recipes.load("semantic3d").with_settings([f"task.classes={classes}"])
    audit = audit_pairs(
        folder / "i",
        folder / "l",
        Layout(3),
        read=True,
        channels=1,
        encode=encoder(build_task(recipe)),
    )
    return audit.problems, audit.notes


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((*SHAPE, 3), np.float32), ["one point in time", "3 of them", "axes TZYX"]),
        (np.full(SHAPE, np.nan, np.float32), ["NaN", "channel 0 at z 0, y 0, x 0"]),
        (np.zeros((6, 5, 9), np.float32), ["(9, 5, 6)", "(4, 5, 6)"]),
    ],
    ids=["four axes", "nan", "another size"],
)
def test_images(tmp_path, image, words):
    write(tmp_path / "i" / "scan7.nii.gz", image)
    write(tmp_path / "l" / "scan7.nii.gz", np.ones(SHAPE, np.uint8))
    (found,), _ = problems(tmp_path)
    assert all(word in found for word in ("scan7.nii.gz", *words))


def test_labels_that_the_recipe_does_not_list(tmp_path):
    write(tmp_path / "i" / "scan7.nii.gz", np.zeros(SHAPE, np.int16))
    labels = np.ones(SHAPE, np.uint8)
    labels[0, 0, 0] = 9
    write(tmp_path / "l" / "scan7.nii.gz", labels)
    (found,), _ = problems(tmp_path)
    assert "l/scan7.nii.gz" in found
    assert "9" in found


def test_a_case_without_a_class_is_trained_on_and_has_no_score(tmp_path):
    write(tmp_path / "i" / "scan7.nii.gz", np.zeros(SHAPE, np.int16))
    write(tmp_path / "l" / "scan7.nii.gz", np.zeros(SHAPE, np.uint8))
    found, notes = problems(tmp_path)
    assert not found
    assert any("scan7.nii.gz: no object" in note for note in notes)
    one, empty = np.ones(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    both = evaluate_pair(empty, empty, ["dice", "dice/2", "hd95", "nsd"])
    assert all(np.isnan(value) for value in both.values())
    missed = evaluate_pair(one, empty, ["dice", "hd95", "nsd"])
    assert (missed["dice"], missed["nsd"]) == (0, 0)
    assert np.isnan(missed["hd95"])


def test_one_class_has_no_area_under_the_curve():
    assert np.isnan(auc(np.ones(9, int), np.linspace(0, 1, 9)))
