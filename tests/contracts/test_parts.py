"""Every part in the tables keeps its contract; a new part is tested because it is in a table."""

from __future__ import annotations

from unmask.data import AUGMENTATIONS, NORMALIZERS
from unmask.io import FORMATS
from unmask.metrics import METRICS
from unmask.models import BACKBONES, DECODERS
from unmask.pretraining import METHODS
from unmask.semisupervised import UNLABELED
from unmask.tasks import TASKS
from unmask.testing import (
    AugmentationContract,
    BackboneContract,
    Contract,
    DecoderContract,
    FormatContract,
    MethodContract,
    MetricContract,
    NormalizerContract,
    TaskContract,
    UnlabeledContract,
)
from unmask.testing.decoder import usual_backbone
from unmask.testing.example_files import WRITERS


def _suffixes() -> list[str]:
    """One suffix for each format, one of which an example can be written if there is one."""
    found: dict[str, str] = {}
    for suffix, form in FORMATS.items():
        if form.name not in found or suffix in WRITERS:
            found[form.name] = suffix
    # Segmentations need the series that they belong to; see tests/io/test_dicom_frames.py.
    return [suffix for suffix in found.values() if suffix != ".seg.dcm"]


KINDS = {
    "task": (TaskContract, TASKS),
    "method": (MethodContract, METHODS),
    "unlabeled": (UnlabeledContract, UNLABELED),
    "backbone": (BackboneContract, BACKBONES),
    "augmentation": (AugmentationContract, AUGMENTATIONS),
    "normalizer": (NormalizerContract, NORMALIZERS),
    "metric": (MetricContract, METRICS),
    # One suffix for each format.
    "format": (FormatContract, _suffixes()),
}
# Every decoder with its usual backbone, and every backbone with a decoder that joins all features
# and one that takes the last one alone.
PAIRS = sorted(
    {(usual_backbone(name), name) for name in DECODERS}
    | {(backbone, name) for backbone in BACKBONES for name in ("unet", "linear")}
)


def subclass(contract: type[Contract], kind: str, name: str, **attributes: object) -> None:
    title = f"Test_{kind}_{name}"
    body = {"part": name, "__module__": __name__, **attributes}
    globals()[title] = type(title, (contract,), body)


# A gray picture in a format of color has three channels.
SPECIAL = {".webp": {"channels": 3}}

for kind, (contract, names) in KINDS.items():
    for name in names:
        subclass(contract, kind, name, **SPECIAL.get(name, {}))
for backbone, name in PAIRS:
    subclass(DecoderContract, f"decoder_{backbone}", name, backbone=backbone)
