"""A training from opened pairs to a run folder with its best model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from unmask import checkpoint
from unmask.api.values import ModelLike
from unmask.build import (
    Assembly,
    build_crops,
    build_replay,
)
from unmask.data.channel_choice import channel_card
from unmask.data.crops import Crops
from unmask.data.diameters import measure_diameters
from unmask.data.loader import batches
from unmask.data.pairs import (
    Pair,
    check_unchanged,
    fingerprint,
)
from unmask.data.replay import Replay
from unmask.errors import grouped
from unmask.models.base import Objective
from unmask.recipe import Recipe
from unmask.space.batch import Batch
from unmask.tasks.segmenter import Segmenter
from unmask.training import (
    Journal,
    RunFolder,
    build_plan,
    fit,
    launched,
    make_fabric,
    modalities,
    started,
)
from unmask.training.allocator import keep_freed_memory
from unmask.training.provenance import code_marks, initialize, is_new_run, note_run, versions

# Batches between two looks at the files' sizes and times.
_LOOK_EVERY = 100


@dataclass(frozen=True)
class Start:
    """Where a run goes and what it begins with."""

    out: str | Path
    init: ModelLike | None = None
    devices: int = 1
    resume: bool = False


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: everything the run wrote.
        model: its best model file.
        metrics: validation of the best model; empty where nothing was held out.
        steps: updates done.
        seconds: wall time of this call.
    """

    folder: Path
    model: Path
    metrics: Mapping[str, float]
    steps: int
    seconds: float

    def __repr__(self) -> str:
        shown = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"Run({str(self.folder)!r}: {self.steps} updates{shown}, {self.seconds:.0f} s)"


def run_training(
    assembly: Assembly[Any],
    pairs: Sequence[Pair],
    *,
    start: Start,
    second: Sequence[Pair] | None = None,
    validate: Callable[[Segmenter], dict[str, float]] | None = None,
    notes: Sequence[str] = (),
    reasons: Sequence[str] = (),
) -> Run:
    """Train the objective on ``pairs``, and on a share of ``second``, into a run folder."""
    begin = time.perf_counter()
    folder = Path(start.out)
    recipe, sampling = assembly.recipe, assembly.sampling
    objective: Objective = assembly.objective
    if sampling is not None:
        modalities.check_start(sampling, folder, init=start.init is not None, resume=start.resume)
    origin = [] if start.init is None else initialize(objective, start.init, recipe)
    code = checkpoint.code_fields(recipe)
    fabric = _place(objective, recipe, start.devices)
    used = [*pairs, *(second or ())]
    marks = fingerprint(used)
    with (
        launched(fabric),
        checkpoint.lock_run(folder) if fabric.is_global_zero else nullcontext(),
    ):
        noted = {**marks, **code_marks(code)}
        new = is_new_run(folder, recipe, noted, resume=start.resume)
        # Files are read here; nothing is written before their pixels are known to be right.
        crops = _source(assembly, pairs, second or (), fabric=fabric, start=start)
        if new:
            note_run(folder, recipe, noted)
        card = {
            "recipe": recipe.model_dump(mode="json"),
            "data": marks,
            "versions": versions(),
            **code,
        }
        card |= _object_sizes(objective, pairs, recipe)
        card |= channel_card([pair.image for pair in used])
        look = partial(check_unchanged, marks, used)
        with Journal(folder, steps=recipe.train.steps) as journal:
            for line in (*reasons, *_note(crops, notes), *origin, *_at_rest(objective)):
                journal.say(line)
            summary = fit(
                objective,
                partial(_stream, crops, fabric, recipe.train.workers, look),
                fabric=fabric,
                optimizer=assembly.optimizer,
                plan=build_plan(recipe),
                journal=journal,
                validate=validate,
                run=RunFolder(folder, card, resume=start.resume),
            )
    seconds = time.perf_counter() - begin
    return Run(folder, folder / "model.safetensors", summary.metrics, summary.step, seconds)


def _place(objective: Objective, recipe: Recipe, devices: int) -> Fabric:
    """The devices of a training, in the precision of its recipe."""
    count, machines = started(devices)
    crop = (recipe.data.channels, *recipe.data.crop)
    unused = count * machines > 1 and objective.leaves_weights_out(crop)
    fabric = make_fabric(count, recipe.train.precision, num_nodes=machines, unused=unused)
    if fabric.device.type == "cpu":
        keep_freed_memory()
    return fabric


def _note(crops: Crops | Replay, notes: Sequence[str]) -> Iterator[str]:
    """Lines of the notes, and of images without objects."""
    first = crops.first if isinstance(crops, Replay) else crops
    empty = [f"{source}: no object, all labels are 0." for source in first.empty]
    yield from (f"note: {note}" for note in grouped([*notes, *empty]))


def _object_sizes(
    objective: Objective, pairs: Sequence[Pair], recipe: Recipe
) -> dict[str, dict[str, Any]]:
    """For the card: diameters of the objects that are learned from, if labels are objects."""
    task = getattr(objective, "task", None)
    if task is None or task.context == 0:
        return {}
    sizes = measure_diameters(pairs, ignore_label=recipe.data.ignore_label)
    return {} if sizes is None else {"object_diameters": sizes.to_card()}


def _at_rest(objective: Objective) -> Iterator[str]:
    """What is frozen, where something is."""
    if objective.frozen:
        sizes = [(p.numel(), p.requires_grad) for p in objective.parameters()]
        learning = sum(size for size, learns in sizes if learns)
        total = sum(size for size, _ in sizes)
        yield f"Frozen: {', '.join(objective.frozen)}; {learning:,} of {total:,} weights learn."


def _source(
    assembly: Assembly[Any],
    pairs: Sequence[Pair],
    second: Sequence[Pair],
    *,
    fabric: Fabric,
    start: Start,
) -> Crops | Replay:
    """Batches of ``pairs``, in the order of the recipe, joined with those of ``second`` if any."""
    recipe, task, pipeline = assembly.recipe, assembly.task, assembly.pipeline
    share = len(pairs) / (len(pairs) + len(second))
    crops = build_crops(recipe, pairs, task, pipeline=pipeline, share=share)
    if assembly.sampling is not None:
        order = modalities.discover(
            crops,
            assembly.objective.backbone,
            assembly.sampling,
            folder=Path(start.out),
            fabric=fabric,
            resume=start.resume,
        )
        crops = crops.in_order_of(order)
    if not second:
        return crops
    replay = build_replay(recipe, second, task, pipeline=pipeline, share=1 - share)
    return Replay(crops, replay)


def _stream(
    crops: Crops | Replay, fabric: Fabric, workers: int, look: Callable[[], None], start: int
) -> Iterator[Batch]:
    """Batches of this process; every process of a group draws others.

    Now and then ``look`` is called, which refuses files that have changed since the start.
    """

    def make(index: int) -> Batch:
        if index % _LOOK_EVERY == 0:
            look()
        return crops.batch(index * fabric.world_size + fabric.global_rank)

    return batches(make, start, workers=workers)
