"""Where a run comes from: its recipe and data on disk, the weights it starts with, versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from unmask import checkpoint
from unmask.atomic import atomic_write
from unmask.build import build_task
from unmask.errors import CheckpointError, DataError, RecipeError
from unmask.models.base import Objective
from unmask.models.weights import load_matching
from unmask.plugins import references, source_digest
from unmask.recipe import Part, Recipe, load
from unmask.tasks.base import describe_meaning
from unmask.training.saving import refuse_used

_RECIPE, _DATA = "recipe.yaml", "data.json"
# Begins the names of Python files among those that a run is made of.
_SOURCE = "source of "
# What may differ between a run and its continuation: none of it changes the weights.
_FREE = {"description", "train.workers", "train.keep", "train.save_every"}


def is_new_run(folder: Path, recipe: Recipe, marks: Mapping[str, str], *, resume: bool) -> bool:
    """Whether ``folder`` awaits ``note_run``; a run that is there is compared with its notes.

    A run may be continued for more updates than it was begun with; its recipe then gets their
    number.

    Raises:
        CheckpointError: a resumed run has another recipe (names the fields), or a new one would
            overwrite what can be resumed.
        DataError: a resumed run has other files; names them.
    """
    if resume and (folder / _RECIPE).is_file():
        before = _check_recipe(folder, recipe)
        _check_data(folder, marks)
        if before.train.steps != recipe.train.steps:
            atomic_write(folder / _RECIPE, recipe.to_yaml())
        return False
    if not resume:
        refuse_used(folder)
    return True


def note_run(folder: Path, recipe: Recipe, marks: Mapping[str, str]) -> None:
    """Write recipe and data fingerprint into a new run."""
    # The recipe comes last: where it is, a run is complete enough to be compared with.
    atomic_write(folder / _DATA, json.dumps(dict(marks), indent=1))
    atomic_write(folder / _RECIPE, recipe.to_yaml())


@dataclass(frozen=True)
class Initialized:
    """Weights of another model in a network that starts.

    Attributes:
        lines: what was taken over and what was not.
        whole: whether every part was taken over, so that the network can predict already.
    """

    lines: tuple[str, ...]
    whole: bool


def initialize(objective: Objective, init: str | Path, recipe: Recipe | None = None) -> Initialized:
    """Take over the weights of another model: its backbone, and decoder and head where they fit.

    The head is taken over for the same task only: equal shapes alone do not make three flows into
    three classes. Code of the other model is never run.

    Args:
        objective: the network that starts.
        init: model file, run folder or shipped model.
        recipe: of the network that starts; needed to compare tasks from files.

    Raises:
        CheckpointError: the file is not a model, covers too little of the backbone, or has more
            than it: a deeper network of the same names would be cut short.
    """
    model = checkpoint.load_model(init)
    before = checkpoint.described_recipe(model.card, init)
    grid, found, whole = _grid(before), list[str](), True
    for part in ("backbone", "decoder", "head"):
        mine = getattr(objective, part, None)
        theirs = {
            name.removeprefix(f"{part}."): tensor
            for name, tensor in model.weights.items()
            if name.startswith(f"{part}.")
        }
        # A part without weights, such as a mean over the image, has nothing to take over.
        if mine is None or not (mine.state_dict() or part == "backbone"):
            continue
        if part == "backbone":
            _check_backbone(mine, theirs, before, source=str(init))
        elif differs := _difference(mine, theirs):
            found.append(f"{part} not taken over; {differs if theirs else 'the file has none'}")
            whole = False
            continue
        elif part == "head" and (other := _other_purpose(objective, before, model.card, recipe)):
            found.append(f"head not taken over; {other}")
            whole = False
            continue
        loaded = load_matching(mine, theirs, source=str(init), grid=grid)
        adapted = "".join(f"; {name}: {how}" for name, how in loaded.adapted.items())
        whole &= not loaded.missing
        kept = f", {len(loaded.missing)} entries kept their own values" if loaded.missing else ""
        found.append(f"{part} {loaded.share:.0%} taken over{kept}{adapted}")
    names = sorted(
        name for _, name in references(before.model_dump(exclude={"name", "description"}))
    )
    if names:
        found.append(f"its code was not run ({', '.join(names)})")
    return Initialized((f"{init}: {'. '.join(found)}.",), whole)


def _other_purpose(
    objective: Objective, before: Recipe, card: Mapping[str, Any], recipe: Recipe | None
) -> str:
    """Why a head of equal shapes means something else, in words; "" if it means the same."""
    task = getattr(objective, "task", None)
    theirs = before.task or before.method
    if task is None or before.task is None or theirs is None:
        mine = None if recipe is None else recipe.method
        if task is None and before.task is None and (mine is None or mine == before.method):
            return ""
        there = "nothing" if theirs is None else theirs.name
        return f"it was trained for {there}, here it is for {_name_of(objective, task)}"
    # Building it would run code: the decoding of a task can come from a file as well.
    if any(references(before.task.model_dump())):
        same = recipe is not None and _same_code(task, before.task, recipe.task, card.get("code"))
        return "" if same else f"the task {before.task.name} there is not known to be the same"
    try:
        there = describe_meaning(build_task(before))
    except RecipeError as error:
        return f"the task there cannot be built ({error})"
    here = describe_meaning(task)
    differ = [name for name in here | there if here.get(name) != there.get(name)]
    if "task" in differ:
        return f"the task is {there['task']} there, {here['task']} here"
    return "; ".join(f"{name} is {there.get(name)} there, {here.get(name)} here" for name in differ)


def _same_code(task: object, before: Part, now: Part | None, code: object) -> bool:
    """Whether two tasks from files have one source, one name and the same options."""
    entries = [entry for entry in code if isinstance(entry, dict)] if isinstance(code, list) else []
    return (
        now is not None
        and now.choice.options == before.choice.options
        and now.name.rpartition(":")[2] == before.name.rpartition(":")[2]
        and source_digest(task) in {entry.get("sha256") for entry in entries}
    )


def _name_of(objective: Objective, task: object) -> str:
    return type(objective if task is None else task).__name__


def _check_backbone(
    mine: nn.Module, theirs: Mapping[str, Tensor], before: Recipe, *, source: str
) -> None:
    """Refuse a backbone with entries that have no place."""
    extra = [name for name in theirs if name not in mine.state_dict()]
    if extra:
        backbone = before.model.backbone.choice
        options = "".join(f", {name}: {value}" for name, value in backbone.options.items())
        raise CheckpointError(
            f"{source}: expected the backbone of this recipe ({type(mine).__name__} of "
            f"{len(mine.state_dict())} entries), found another one of {len(theirs)} entries, of "
            f"which {len(extra)} have no place here: {', '.join(extra[:4])}. Use a recipe with the "
            f"file's backbone (model.backbone={{name: {backbone.name}{options}}}), or leave out "
            "--init."
        )


def _difference(mine: nn.Module, theirs: Mapping[str, Tensor]) -> str:
    """The first entry that is not of one shape in both, in words; "" where all are."""
    here = {name: tuple(tensor.shape) for name, tensor in mine.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in theirs.items()}
    for name in here | there:
        if here.get(name) != there.get(name):
            return f"{name} is {there.get(name, 'absent')} there, {here.get(name, 'absent')} here"
    return ""


def code_marks(fields: Mapping[str, Any]) -> dict[str, str]:
    """What changes with the sources of a recipe's own parts; of ``checkpoint.code_fields``."""
    return {f"{_SOURCE}{entry['file']}": entry["sha256"] for entry in fields.get("code", ())}


def versions() -> dict[str, str]:
    """What made a model."""
    names = ("unmask", "torch", "numpy", "numba")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _grid(recipe: Recipe) -> tuple[int, ...] | None:
    """Tokens along every axis that a recipe's position table is made for; None without tokens."""
    patch = recipe.model.backbone.choice.options.get("patch")
    if patch is None:
        return None
    sizes = (patch,) * recipe.data.ndim if isinstance(patch, int) else patch
    return tuple(-(-n // p) for n, p in zip(recipe.data.crop, sizes, strict=True))


def recipe_changes(before: Recipe, now: Recipe) -> list[str]:
    """The fields whose values differ, with both values; without those that change no weights."""
    old, new = (dict(_flat(recipe.model_dump(mode="json"))) for recipe in (before, now))
    differ = sorted(n for n in (old | new) if n not in _FREE and old.get(n) != new.get(n))
    return [f"{name}: {old.get(name)!r} before, {new.get(name)!r} now" for name in differ]


def _check_recipe(folder: Path, recipe: Recipe) -> Recipe:
    """The recipe of the run in the folder, which may have fewer updates."""
    written = before = load(folder / _RECIPE)
    if recipe.train.steps > before.train.steps:
        train = before.train.model_copy(update={"steps": recipe.train.steps})
        before = before.model_copy(update={"train": train})
    if lines := recipe_changes(before, recipe):
        raise CheckpointError(
            f"{folder}: expected the recipe of the run to resume, found other values: "
            f"{'; '.join(lines[:8])}. Resume with the run's own recipe "
            f"(--recipe {folder / _RECIPE}), or choose another --out."
        )
    return written


def _check_data(folder: Path, marks: Mapping[str, str]) -> None:
    try:
        before = json.loads((folder / _DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / _DATA}: expected the fingerprint of the run's files, found none that can "
            f"be read ({error}). Start a new run with another --out."
        ) from error
    # Runs of the first version noted no sources of parts.
    differ = sorted(
        n
        for n in {*before, *marks}
        if before.get(n) != marks.get(n) and (n in before or not n.startswith(_SOURCE))
    )
    if differ:
        raise DataError(
            f"{folder}: expected the files of the run to resume, found {len(differ)} that are new, "
            f"changed or missing: {', '.join(differ[:8])}. Restore them, or start a new run."
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
