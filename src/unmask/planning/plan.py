"""From facts to a recipe: the nearest preset with fields filled in, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from unmask.planning import data_rules as data
from unmask.planning import network_rules as network
from unmask.planning import task_rules as tasks
from unmask.planning.decision import Decision, unit
from unmask.planning.doubts import find_doubts
from unmask.planning.facts import Facts, measure
from unmask.planning.image_facts import ImageFacts
from unmask.recipe import PLANNED, Recipe, load
from unmask.shipped.starts import find_start
from unmask.wording import format_count

__all__ = ["Facts", "Plan", "make_plan", "measure"]

# Presets whose other fields a plan keeps, by task and number of axes.
_PRESETS = {
    ("semantic", 2): "semantic2d",
    ("semantic", 3): "semantic3d",
    ("flows", 2): "cells",
    ("flows", 3): "cells3d",
    ("boundary", 3): "cells3d",
    ("affinities", 2): "membranes2d",
    ("affinities", 3): "neurites3d",
}
# Fields without which a preset may refuse labels.
_OF_LABELS = ("task.classes", "task.values")
# Updates without a time limit: where the published curves of the presets level off.
_STEPS = {2: 3000, 3: 2500}
# Channels of the finest level; the narrow network learns more in a quarter of an hour of one CPU.
_WIDTH, _NARROW = 24, 16
# Why tiles of a prediction are as large as they are.
_TILES = {
    2: "larger tiles than crops save overlap",
    3: "volumes are predicted in tiles of the crop's size",
}
# Voxels per update at which the presets were measured.
_VOXELS = 520_000


@dataclass(frozen=True)
class Plan:
    """A recipe derived from data.

    Attributes:
        recipe: an ordinary recipe.
        decisions: what was filled in, with reasons.
        facts: what was measured.
        notes: doubts and assumptions, one line each.
        preset: the one whose other fields are kept.
    """

    recipe: Recipe
    decisions: tuple[Decision, ...]
    facts: Facts
    notes: tuple[str, ...]
    preset: str

    @property
    def preset_settings(self) -> list[str]:
        """Settings that the preset needs for such labels."""
        return [each.setting for each in self.decisions if each.field in _OF_LABELS]

    def with_decisions(self, decisions: Sequence[Decision]) -> Plan:
        """The plan with more fields filled in; later decisions replace earlier ones."""
        recipe = self.recipe.with_settings([each.setting for each in decisions])
        kept = {each.field: each for each in (*self.decisions, *decisions)}
        return replace(self, recipe=recipe, decisions=tuple(kept.values()))


def make_plan(facts: Facts, *, minutes: float | None = None) -> Plan:
    """Fill in a recipe.

    Args:
        facts: from `measure`.
        minutes: time for the training, which decides on the width of the network; the number of
            updates needs a measurement on the device (`unmask.api.plan`).
    """
    scale = _scale(facts)
    seen = facts.resized(scale)
    images, objects = seen.images, seen.objects
    task = _task(seen)
    preset = _PRESETS[str(task[0].value), images.ndim]
    crop = data.crop_of(images, objects, seen.voxel)
    aligned = facts.verdict.classes and facts.verdict.aligned
    dense = objects is not None and tasks.is_dense(objects)
    foreground = _median([one.foreground for one in facts.labels])
    steps = _STEPS.get(images.ndim, 2500)
    decisions = [
        *task,
        data.channel_decision(images),
        *data.spacing_decisions(images),
        *data.scale_decisions(facts.objects, scale),
        *data.fit_decisions(
            objects if (task[0].value, images.ndim) == ("flows", 2) else None, facts.labeled
        ),
        data.crop_decision(crop, images, objects),
        data.normalize_decision(images, classes=facts.verdict.classes),
        data.foreground_decision(foreground),
        data.augment_decision(images, objects, seen.voxel, aligned=aligned, dense=dense),
        *_network(seen, crop, minutes),
        *network.schedule_decisions(steps, "no time limit was given (--minutes)"),
        _batch(crop, max(2, min(8, round(_VOXELS / prod(crop))))),
        _tile(crop, images),
    ]
    recipe = load(preset).with_settings([each.setting for each in decisions])
    recipe = recipe.model_copy(
        update={
            "name": PLANNED,
            "description": f"planned from {format_count(facts.labeled, 'labeled image')}",
        }
    )
    return Plan(recipe, tuple(decisions), facts, tuple(find_doubts(facts)), preset)


def shrink_crops(plan: Plan, share: float, minutes: float | None, why: str) -> Plan:
    """The plan with crops of about ``share`` of the voxels, and the network and tiles for them.

    The plan itself, if its crops are as small as its objects allow. A network that was not planned
    for these images, such as the one of start weights, is kept.
    """
    seen, crop = plan.facts.resized(_scale(plan.facts)), plan.recipe.data.crop
    # Flows lead to the middle of a whole object.
    whole = plan.recipe.task is not None and plan.recipe.task.name == "flows"
    smaller = data.shrink_crop(crop, share, seen.objects, seen.voxel, whole=whole)
    if smaller == tuple(crop):
        return plan
    chosen = {decision.field: decision.value for decision in plan.decisions}
    planned = all(chosen.get(each.field) == each.value for each in _network(seen, crop, minutes))
    return plan.with_decisions(
        [
            Decision("data.crop", list(smaller), why),
            *(_network(seen, smaller, minutes) if planned else []),
            _batch(smaller, plan.recipe.train.batch_size),
            _tile(smaller, seen.images),
        ]
    )


def _network(facts: Facts, crop: Sequence[int], minutes: float | None) -> list[Decision]:
    narrow = minutes is not None and minutes <= 15
    why = f"{minutes:g} minutes suit a narrow network" if narrow else "the width of the presets"
    width = _NARROW if narrow else _WIDTH
    single = facts.objects is not None and not tasks.is_dense(facts.objects)
    fits = network.suits_start(crop, facts.voxel, single=single)
    start = find_start(len(crop)) if fits else None
    return network.network_decisions(crop, facts.voxel, width=width, why=why, start=start)


def _scale(facts: Facts) -> tuple[float, ...]:
    """Factor per axis on the images."""
    objects, ndim = facts.objects, facts.images.ndim
    # Dense objects of volumes are separated by thin boundaries, which would vanish.
    dense = ndim > 2 and objects is not None and tasks.is_dense(objects)
    return (1.0,) * ndim if dense else data.scale_of(objects, facts.voxel)


def _task(seen: Facts) -> list[Decision]:
    """The task and its options for images as the network sees them."""
    if seen.objects is None:
        return tasks.class_decisions(seen.labels, seen.verdict)
    if tasks.is_dense(seen.objects):
        return tasks.affinity_decisions(seen.objects, seen.verdict, seen.voxel)
    if tasks.is_long(seen.objects, seen.voxel, seen.slenderness):
        return tasks.boundary_decisions(seen.objects, seen.verdict, seen.voxel)
    return tasks.flow_decisions(seen.objects, seen.verdict, seen.images.ndim)


def _batch(crop: Sequence[int], size: int) -> Decision:
    seen = f"{size * prod(crop):,} {unit(len(crop))} are seen per update"
    return Decision("train.batch_size", size, seen)


def _tile(crop: Sequence[int], images: ImageFacts) -> Decision:
    """The crop; planes are predicted in larger tiles, which need less overlap."""
    tile = list(crop)
    if images.ndim < 3:
        tile = [max(c, min(512, n // 16 * 16)) for c, n in zip(crop, images.shape, strict=True)]
    return Decision("infer.tile", tile, _TILES.get(images.ndim, _TILES[3]))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
