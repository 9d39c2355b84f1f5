"""CT of the abdomen, 15 organs."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    # Numbers of 500 and more are MRI
    images=("imagesTr/amos_*", "imagesVa/amos_*"),
    labels=("labelsTr/amos_*", "labelsVa/amos_*"),
    test=("imagesTs/amos_*",),
    below=500,
)

SET = DataSet(
    name="amos22",
    title="CT of the abdomen, 15 organs",
    license="terms of the source",
    citation="arXiv:2206.08023",
    source="AMOS 2022 challenge",
    archive="{images,labels}{Tr,Va}/amos_*.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (300,), "test": (0, 100, 200)},
    preset="glmae_amos22",
)
