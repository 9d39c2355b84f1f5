import unmask.parts

from .augment.apply import read_shape
from .label_changes import LABEL_CHANGES
from .sampling import SAMPLINGS

AUGMENTATIONS: unmask.parts.Parts
NORMALIZERS: unmask.parts.Parts

__all__ = [
    "AUGMENTATIONS",
    "LABEL_CHANGES",
    "NORMALIZERS",
    "SAMPLINGS",
    "read_shape",
]
