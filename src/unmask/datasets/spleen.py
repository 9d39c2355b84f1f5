"""CT of the abdomen, spleen (Medical Segmentation Decathlon, task 9)."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("imagesTr/spleen_*",), labels=("labelsTr/spleen_*",), test=("imagesTs/spleen_*",)
)

SET = DataSet(
    name="spleen",
    title="CT of the abdomen, spleen (Medical Segmentation Decathlon, task 9)",
    license="CC BY-SA 4.0",
    citation="doi:10.1038/s41467-022-30695-9",
    source="http://medicaldecathlon.com",
    archive="imagesTr/spleen_*.nii.gz, labelsTr/spleen_*.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (41,), "test": (0, 20)},
    preset="glmae_spleen",
)
