"""CT of lungs, lesions of COVID-19."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("Train/*_ct",), labels=("Train/*_seg",), test=("Validation/*_ct",), backwards=True
)

SET = DataSet(
    name="covid19_20",
    title="CT of lungs, lesions of COVID-19",
    license="terms of the challenge",
    citation="doi:10.1016/j.media.2022.102605",
    source="COVID-19-20 challenge",
    archive="Train/*_ct.nii.gz, Train/*_seg.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (199,), "test": (0, 50)},
    preset="glmae_covid19_20",
)
