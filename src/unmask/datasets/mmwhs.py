"""CT of the heart, 7 structures."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("ct_train/ct_train_*_image",),
    labels=("ct_train/ct_train_*_label",),
    test=("ct_test/ct_test_*_image",),
)

SET = DataSet(
    name="mmwhs",
    title="CT of the heart, 7 structures",
    license="terms of the challenge",
    citation="doi:10.1016/j.media.2019.101537",
    source="MM-WHS 2017 challenge",
    archive="ct_train/ct_train_*_image.nii.gz, ct_train/ct_train_*_label.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (20,), "test": (0, 40)},
    preset="glmae_mmwhs",
)
