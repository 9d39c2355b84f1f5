"""MRI of brain tumors, 4 contrasts, 3 classes (Medical Segmentation Decathlon, task 1)."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("imagesTr/BRATS_*",), labels=("labelsTr/BRATS_*",), test=("imagesTs/BRATS_*",)
)

SET = DataSet(
    name="brats21",
    title="MRI of brain tumors, 4 contrasts, 3 classes (Medical Segmentation Decathlon, task 1)",
    license="CC BY-SA 4.0",
    citation="doi:10.1038/s41467-022-30695-9",
    source="http://medicaldecathlon.com",
    archive="imagesTr/BRATS_*.nii.gz, labelsTr/BRATS_*.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (484,), "test": (0, 266)},
    preset="glmae_brats21",
)
