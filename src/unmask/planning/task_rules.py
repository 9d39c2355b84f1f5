"""Which task labels ask for, and its options: classes, flows, or affinities."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

import numpy as np

from unmask.labels.dropped import diameter
from unmask.planning.decision import Decision, unit, whole
from unmask.planning.kinds import Verdict, all_values
from unmask.planning.label_facts import LabelImage
from unmask.planning.objects import ObjectFacts

# Objects that fill most of the image with thin layers between them are learned by the layers:
# centers of branched or dense objects are ambiguous. Neurites in EM have 0.77 to 1.00 foreground
# and gaps below 0.22 of a diameter; nuclei and cells 0.04 to 0.48, and gaps above 0.5.
_DENSE, _THIN = 0.6, 0.35
# Objects of volumes that are so many times longer than their diameter, such as mitochondria, have
# no center that a short training finds: on half of mito_sbem_nc, 212 updates of flows found one of
# 46 objects of the other half, 384 of boundaries in the same time had F1 0.37. There, a tenth of
# the objects are 2.2 times longer than a ball of their size; of nuclei (plant_nuclei_3d_mini) 1.4.
_LONG, _SLENDER = 6.0, 1.8
# Voxels of the boundary along the shortest edges.
_BOUNDARY = 2
# Distances at which affinities tell objects apart, as shares of the median diameter; they span the
# published 1, 3, 9, 27 at a diameter of 30 to 80 voxels.
_SHORT, _REACH = (1, 3, 9, 27), 1.0
# Objects of fewer voxels than this share of the smallest real ones are taken as debris.
_DEBRIS, _MOST_DEBRIS = 0.3, 200
# Values of a label image from which classes need a list of values.
_LISTED = 16


def class_decisions(labels: Sequence[LabelImage], verdict: Verdict) -> list[Decision]:
    """Semantic segmentation with the values found."""
    values = [0, *all_values(labels).tolist()]
    reason = "; ".join(verdict.reasons[:3]) or "no label value besides 0 was found"
    other = "--set task=flows"
    decisions = [Decision("task", "semantic", reason, sure=verdict.sure, otherwise=other)]
    if values[-1] < _LISTED:
        count = max(2, values[-1] + 1)
        text = f"label values go up to {values[-1]}"
    else:
        count = max(2, len(values))
        text = f"{len(values)} values occur"
        decisions.append(Decision("task.values", values, "the values are not 0, 1, 2, ..."))
    return [*decisions, Decision("task.classes", count, f"{text}, with background")]


def is_dense(objects: ObjectFacts) -> bool:
    """Whether objects fill the image up to thin layers."""
    thin = objects.gap <= _THIN * objects.median or objects.foreground == 1
    return objects.foreground >= _DENSE and thin


def flow_decisions(objects: ObjectFacts, verdict: Verdict, ndim: int) -> list[Decision]:
    """Flows to centers of objects, which are resized to the network's grid."""
    reach = whole(ceil(objects.longest * 0.6), least=8)
    smallest = _DEBRIS * _voxels(objects.low, ndim)
    decisions = [
        Decision(
            "task",
            "flows",
            "; ".join(verdict.reasons[:2])
            + f"; objects cover {objects.foreground:.0%} of the images, which is not dense",
            sure=verdict.sure,
            otherwise="--set task=semantic",
        ),
        Decision(
            "task.reach",
            reach,
            f"99 % of the objects are shorter than {objects.longest:.0f} {unit(ndim)}",
        ),
        Decision(
            "task.min_size",
            whole(min(smallest, _MOST_DEBRIS), least=4),
            f"pieces of fewer {unit(ndim)} are dropped; 5 % of the objects have diameters below "
            f"{objects.low:.1f}",
        ),
    ]
    steps = max(200, whole(reach * 3))
    if steps > 200:
        decisions.append(Decision("task.steps", steps, f"flows lead over {reach} {unit(ndim)}"))
    if objects.largest_share > 0.3:
        text = f"one object covers {objects.largest_share:.0%} of its image"
        decisions.append(Decision("task.max_fraction", 1.0, text))
    return decisions


def is_long(objects: ObjectFacts, voxel: Sequence[float], slenderness: float) -> bool:
    """Whether the longest objects are tubes rather than balls, for volumes only.

    Both matter: balls may be of very different sizes, and short tubes have a center.
    """
    across = objects.median * prod(voxel) ** (1 / len(voxel))
    return len(voxel) > 2 and objects.longest >= _LONG * across and slenderness >= _SLENDER


def boundary_decisions(
    objects: ObjectFacts, verdict: Verdict, voxel: Sequence[float]
) -> list[Decision]:
    """Interior and boundary of objects, which are resized to the network's grid."""
    points = unit(len(voxel))
    smallest = whole(min(_DEBRIS * _voxels(objects.low, len(voxel)), _MOST_DEBRIS), least=4)
    return [
        Decision(
            "task",
            "boundary",
            f"{'; '.join(verdict.reasons[:2])}; objects are up to {objects.longest:.0f} {points} "
            f"long, with a median diameter of {objects.median:.0f}, so they have no clear center",
            sure=verdict.sure,
            otherwise="--set task=flows",
        ),
        Decision(
            "task.thickness",
            [round(_BOUNDARY / length) for length in voxel],
            "boundaries are thin against the objects",
        ),
        Decision(
            "task.reach",
            whole(ceil(objects.longest), least=8),
            f"99 % of the objects are shorter than {objects.longest:.0f} {points}",
        ),
        Decision(
            "task.min_size",
            smallest,
            f"pieces of fewer {points} are dropped; 5 % of the objects have diameters below "
            f"{objects.low:.1f}",
        ),
    ]


def affinity_decisions(
    objects: ObjectFacts, verdict: Verdict, voxel: Sequence[float]
) -> list[Decision]:
    """Affinities of neighbors up to a diameter apart, for objects on the network's grid."""
    across, points = objects.median, unit(len(voxel))
    # Labels without background between objects need a border to learn.
    widen = objects.touching > 0.5
    smallest = whole(_DEBRIS * _voxels(objects.low, len(voxel)), least=4)
    decisions = [
        Decision(
            "task",
            "affinities",
            f"objects cover {objects.foreground:.0%} of the images, separated by layers of "
            f"{objects.gap:.1f} {points} (median diameter {objects.median:.0f})",
            sure=verdict.sure,
            otherwise="--set task=flows",
        ),
        Decision(
            "task.offsets",
            neighbor_offsets(across, voxel),
            f"pairs up to a diameter of {across:.0f} {points} apart tell objects from each other",
        ),
        Decision("task.background", "apart", "background lies between the objects"),
    ]
    if widen:
        text = f"{objects.touching:.0%} of the objects touch without background between them"
        decisions.append(Decision("task.widen", [1] * len(voxel), text))
    text = f"it scored best on membranes of this kind; pieces below {smallest} {points} are dropped"
    return [*decisions, Decision("task.decoding", _decoding(len(voxel), smallest), text)]


def _voxels(across: float, ndim: int) -> float:
    """Voxels of a disk or ball of this diameter."""
    return (across / float(diameter(np.ones(1), ndim)[0])) ** ndim


def neighbor_offsets(across: float, voxel: Sequence[float]) -> list[list[int]]:
    """One voxel along every axis, then 3, 9 and 27 of the shortest as far as objects reach."""
    offsets: list[list[int]] = []
    for far in _SHORT:
        if far > 1 and far > _REACH * across:
            break
        for axis, length in enumerate(voxel):
            step = max(1, round(far / length))
            offset = [-step if other == axis else 0 for other in range(len(voxel))]
            if offset not in offsets:
                offsets.append(offset)
    return offsets


def _decoding(ndim: int, min_size: int) -> dict[str, object]:
    """The decoders of the presets membranes2d and neurites3d, which were chosen on real sets."""
    if ndim > 2:
        return {"name": "mutex", "strides": [4] * ndim, "join_above": 0.4, "min_size": min_size}
    return {
        "name": "waterz",
        "threshold": 0.85,
        "watershed": {"sigma": 1.0, "smooth_boundary": False},
        "min_size": min_size,
        "alone_below": 0.01,
    }
