"""CT of the abdomen, 16 organs."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("imagesTr/word_*",), labels=("labelsTr/word_*",), test=("imagesTs/word_*",)
)

SET = DataSet(
    name="word",
    title="CT of the abdomen, 16 organs",
    license="terms of the source",
    citation="doi:10.1016/j.media.2022.102642",
    source="WORD, from its authors",
    archive="imagesTr/word_*.nii.gz, labelsTr/word_*.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (100,), "test": (0, 30)},
    preset="glmae_word",
)
