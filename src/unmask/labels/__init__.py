"""Label images: arrays in, arrays out, any number of axes."""

from unmask.labels.affinities import segment
from unmask.labels.agglomeration import average_linkage, waterz
from unmask.labels.components import connected_components
from unmask.labels.fill import fill_holes
from unmask.labels.flows import flows_to_labels, labels_to_flows
from unmask.labels.multicut_partition import multicut
from unmask.labels.mutex import mutex_watershed
from unmask.labels.relabeling import relabel
from unmask.labels.small import remove_small
from unmask.labels.small_objects import merge_small, refill_small

__all__ = [
    "average_linkage",
    "connected_components",
    "fill_holes",
    "flows_to_labels",
    "labels_to_flows",
    "merge_small",
    "multicut",
    "mutex_watershed",
    "refill_small",
    "relabel",
    "remove_small",
    "segment",
    "waterz",
]
