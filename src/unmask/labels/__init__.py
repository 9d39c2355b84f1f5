"""Label images: arrays in, arrays out, any number of axes."""

from unmask.labels.components import connected_components
from unmask.labels.fill import fill_holes
from unmask.labels.flows import flows_to_labels, labels_to_flows
from unmask.labels.relabel import relabel
from unmask.labels.small import remove_small

__all__ = [
    "connected_components",
    "fill_holes",
    "flows_to_labels",
    "labels_to_flows",
    "relabel",
    "remove_small",
]
