from .augmentation import AugmentationContract
from .backbone import BackboneContract
from .base import Contract, small_options
from .decoder import DecoderContract
from .format import FormatContract
from .method import MethodContract
from .metric import MetricContract
from .normalizer import NormalizerContract
from .task import TaskContract
from .unlabeled import UnlabeledContract

__all__ = [
    "AugmentationContract",
    "BackboneContract",
    "Contract",
    "DecoderContract",
    "FormatContract",
    "MethodContract",
    "MetricContract",
    "NormalizerContract",
    "TaskContract",
    "UnlabeledContract",
    "small_options",
]
