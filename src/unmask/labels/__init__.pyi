from .affinities import segment
from .agglomeration import average_linkage, waterz
from .components import connected_components
from .edit import Correction, merge_objects, remove_object, split_object
from .fill import fill_holes
from .flows import flows_to_labels, labels_to_flows
from .growing import grow_objects
from .interiors import interiors_to_labels, labels_to_interiors
from .multicut_partition import multicut
from .mutex import mutex_watershed
from .relabeling import relabel
from .small import remove_small
from .small_objects import merge_small, refill_small

__all__ = [
    "Correction",
    "average_linkage",
    "connected_components",
    "fill_holes",
    "flows_to_labels",
    "grow_objects",
    "interiors_to_labels",
    "labels_to_flows",
    "labels_to_interiors",
    "merge_objects",
    "merge_small",
    "multicut",
    "mutex_watershed",
    "refill_small",
    "relabel",
    "remove_object",
    "remove_small",
    "segment",
    "split_object",
    "waterz",
]
