"""From ``--init`` to the weights that a network starts with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unmask.atomic import atomic_write
from unmask.checkpoint.lineage import start_fields
from unmask.checkpoint.snapshots import FOLDER as SNAPSHOTS
from unmask.errors import CheckpointError, DataError, message
from unmask.models.base import Objective
from unmask.recipe import Part, Recipe
from unmask.shipped.starts import ShippedStart, find_generalist, find_start, start_name
from unmask.training.provenance import initialize

AUTO, PHANTOMS, NONE = "auto", "phantoms", "none"
# Values of ``--init`` that are not models.
WORDS = (AUTO, PHANTOMS, NONE)
_FILE = "start.json"


@dataclass(frozen=True)
class Chosen:
    """Initial weights of a network.

    Attributes:
        asked: value of ``--init``.
        model: model that the weights come from; None: random weights.
        lines: loaded parts for the log, or the reason for random weights.
        unsure: whether a trial has to decide if the weights are used.
        trial: updates and losses of the trial; empty: no trial.
        whole: whether the weights are those of all parts for the same task, so that the network
            can predict before the first update.
    """

    asked: str
    model: str | None = None
    lines: tuple[str, ...] = ()
    unsure: bool = False
    trial: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False

    def to_card(self) -> dict[str, Any]:
        """The origin of the weights, with licenses, for the card of the trained model."""
        return {} if self.model is None else start_fields(self.model)


def choose_start(
    init: str | Path | None,
    objective: Objective,
    recipe: Recipe,
    *,
    folder: Path,
    resume: bool = False,
) -> Chosen:
    """Load the initial weights that ``init`` names into a network.

    Args:
        init: ``none`` or None: random weights. ``phantoms``: the shipped weights for the number of
            axes. ``auto``: the same, or for flows those of the shipped generalist; a trial has to
            confirm them. Otherwise a model.
        objective: the network, with random weights.
        recipe: recipe of the network.
        folder: run folder.
        resume: whether the run is resumed; it then keeps the weights that it started from.

    Raises:
        CheckpointError: a model that was named does not fit. Shipped weights that do not fit are
            not an error: ``lines`` reports them.
        DataError: ``start.json`` of the run to resume cannot be read.
    """
    if resume and (noted := _read_note(folder)) is not None:
        init = noted
    if init is None or str(init) == NONE:
        return Chosen(NONE)
    if str(init) not in {AUTO, PHANTOMS}:
        given = initialize(objective, init, recipe)
        return Chosen(str(init), str(init), given.lines, whole=given.whole)
    start = shipped_start(str(init), recipe)
    if start is None:
        return Chosen(str(init), lines=_missing(str(init), recipe.data.ndim))
    try:
        given = initialize(objective, start.name, recipe)
    except CheckpointError:
        return Chosen(str(init), lines=(_misfit(start, recipe),))
    origin = f"Start weights: {start.name}, trained on {start.origin}."
    lines, unsure = (origin, *given.lines), str(init) == AUTO
    return Chosen(str(init), start.name, lines, unsure, whole=given.whole)


def shipped_start(init: str, recipe: Recipe) -> ShippedStart | None:
    """The shipped weights that ``auto`` or ``phantoms`` stand for; None if there are none."""
    # The generalist has learned cells and nuclei, by flows; the synthetic images are of all kinds.
    of_objects = init == AUTO and recipe.task is not None and recipe.task.name == "flows"
    return (find_generalist if of_objects else find_start)(recipe.data.ndim)


def note_start(folder: Path, chosen: Chosen) -> None:
    """Write ``start.json`` into the run folder; nothing for ``none``."""
    if chosen.asked != NONE:
        tree = {
            "asked": chosen.asked,
            "model": chosen.model,
            "trial": dict(chosen.trial),
            "lines": list(chosen.lines),
        }
        atomic_write(folder / _FILE, json.dumps(tree, indent=1))


def share_start(known: Path, folder: Path) -> None:
    """Let a run begin with the weights that another one started from.

    Args:
        known: folder of a run that has begun.
        folder: folder of the run; nothing is changed if it has started already.
    """
    started = (folder / _FILE).is_file() or (folder / SNAPSHOTS).is_dir()
    if (known / _FILE).is_file() and not started:
        atomic_write(folder / _FILE, (known / _FILE).read_text(encoding="utf-8"))


def without(chosen: Chosen, *reasons: str) -> Chosen:
    """The same request with random weights, for the given reasons."""
    return replace(chosen, model=None, lines=reasons, unsure=False, whole=False)


def _read_note(folder: Path) -> str | None:
    """Model that the run in ``folder`` started from; None if the folder holds no run."""
    path = folder / _FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        model = tree["model"]
    except FileNotFoundError:
        # Runs of earlier versions, and those with random weights, have no note.
        return NONE if (folder / "recipe.yaml").is_file() else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            message(
                path,
                expected="a note of the weights that the run has started with",
                found=f"none that can be read ({error})",
                do="Restore it, or start a new run with another --out.",
            )
        ) from error
    return NONE if model is None else str(model)


def _missing(init: str, ndim: int) -> tuple[str, ...]:
    """Message that no weights are shipped; empty for ``auto``, which did not name them."""
    if init == AUTO:
        return ()
    return (f"There are no start weights for {ndim}D images ({start_name(ndim)}). "
            "The training starts from random weights.",)  # fmt: skip


def _misfit(start: ShippedStart, recipe: Recipe) -> str:
    theirs, mine = Part.model_validate(start.backbone), recipe.model.backbone
    return (
        f"Start weights: {start.name} has the backbone {_shown(theirs)}, this recipe has "
        f"{_shown(mine)}, so the training starts from random weights. To use them: "
        f"--set 'model.backbone={json.dumps(start.backbone)}'."
    )


def _shown(part: Part) -> str:
    options = ", ".join(f"{name} {value}" for name, value in part.choice.options.items())
    return f"{part.name} ({options})" if options else part.name
