"""CT of the abdomen, 13 organs."""

from __future__ import annotations

from unmask.datasets.dataset import DataSet
from unmask.datasets.volumes import Volumes, make_find

LAYOUT = Volumes(
    images=("Training/img/img*",),
    labels=("Training/label/label*",),
    test=("Testing/img/img*",),
    backwards=True,
)

SET = DataSet(
    name="btcv",
    title="CT of the abdomen, 13 organs",
    license="terms of the challenge",
    citation="doi:10.7303/syn3193805",
    source="Synapse, syn3193805 (Beyond the Cranial Vault)",
    archive="Training/img/img*.nii.gz, Training/label/label*.nii.gz",
    find=make_find(LAYOUT),
    counts={"train+val": (30,), "test": (0, 20)},
    preset="glmae_btcv",
)
