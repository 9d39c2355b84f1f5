"""Weights of published programs as networks and model files of ours.

``SOURCES`` maps the names that users give to one file of this folder each; ``interop/base.py`` is
their contract. A file is opened without running anything in it, its sizes are read from the
tensors, and every entry must have its place: nothing is loaded in part or silently.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unmask import checkpoint
from unmask.checkpoint.model import differences
from unmask.errors import CheckpointError, RecipeError, gather
from unmask.interop import glmae, imagenet, mae, maester, mediar, mit, pea, spark
from unmask.interop.base import Entries, Source
from unmask.lookup import find
from unmask.recipe import Recipe
from unmask.wording import format_count

SOURCES: dict[str, Source] = {
    "glmae": glmae.SOURCE,
    "imagenet": imagenet.SOURCE,
    "mae": mae.SOURCE,
    "maester": maester.SOURCE,
    "mediar": mediar.SOURCE,
    "mit": mit.SOURCE,
    "pea2d": pea.SOURCE_2D,
    "pea3d": pea.SOURCE_3D,
    "spark": spark.SOURCE,
}
_SHOWN = 40


@dataclass(frozen=True)
class Official:
    """A published file, read.

    Attributes:
        source: how it was read.
        recipe: of its network.
        weights: by our names, float32.
        origin: where it comes from: source, title, license, file and its SHA-256.
    """

    source: Source
    recipe: Recipe
    weights: Mapping[str, Tensor]
    origin: Mapping[str, str]

    def network(self) -> nn.Module:
        """The network in evaluation mode; a call gives the published outputs."""
        # On the meta device nothing is drawn or computed that the file replaces
        with torch.device("meta"):
            built = self.source.build(self.recipe)
        built.load_state_dict(dict(self.weights), strict=not self.source.optional, assign=True)
        return self.source.outputs(built).eval()


def read(path: str | Path, source: str, settings: Iterable[str] = ()) -> Official:
    """Read a published file.

    Args:
        path: safetensors or a PyTorch file of tensors alone.
        source: a key of ``SOURCES``.
        settings: ``key=value`` changes to the recipe; for what tensors do not show.

    Raises:
        RecipeError: an unknown source or setting, or an option that only the user knows.
        CheckpointError: the file is damaged or another program's, or entries are missing, too
            many, or of other shapes; all at once.
    """
    chosen = _source(source)
    found = understand(checkpoint.load_foreign(path), source, settings, subject=str(path))
    name, text = f"{source}_{Path(path).stem}", f"weights of {source}, from {Path(path).name}"
    titles = [f"name={json.dumps(name)}", f"description={json.dumps(text)}"]
    origin = {
        "source": source,
        "title": chosen.title,
        "license": chosen.license,
        "file": Path(path).name,
        "sha256": _digest(Path(path)),
    }
    return replace(found, recipe=found.recipe.with_settings(titles), origin=origin)


def understand(
    tree: Mapping[str, Any], source: str, settings: Iterable[str] = (), *, subject: str = "weights"
) -> Official:
    """The same for what a file holds: nested dicts of tensors and plain values.

    Raises:
        CheckpointError: entries of another program, or incomplete ones.
    """
    chosen = _source(source)
    entries = chosen.unpack(tree)
    if not chosen.belongs(entries):
        raise CheckpointError(_stranger(subject, chosen, tree, entries))
    recipe = chosen.recipe(entries).with_settings(settings)
    _ask_unknown(recipe, subject)
    weights = _rename(chosen, entries)
    _check(chosen, recipe, weights, subject=f"{subject}, read as {source}")
    return Official(chosen, recipe, weights, {})


def _source(name: str) -> Source:
    found: Any = find(name, SOURCES, "source")  # pyright: ignore[reportArgumentType]
    return found


def _stranger(subject: str, source: Source, tree: Mapping[str, Any], entries: Entries) -> str:
    alike = [name for name, other in SOURCES.items() if other.belongs(other.unpack(tree))]
    if alike:
        found, advice = f"those of {SOURCES[alike[0]].title}", f"Give --source {alike[0]}."
    else:
        found = f"entries such as {', '.join(list(entries)[:4])}" if entries else "no tensors"
        advice = (
            "The network is another one, for example with another encoder: get the file of the "
            "published network, or load it with its own program."
        )
    return f"{subject}: expected weights of {source.title}, found {found}. {advice}"


def _ask_unknown(recipe: Recipe, subject: str) -> None:
    """Ask for options that only the user knows."""
    parts = {"model.backbone": recipe.model.backbone, "method": recipe.method}
    unknown = [
        f"{where}.{name}"
        for where, part in parts.items()
        if part is not None
        for name, value in part.choice.options.items()
        if value is None and name.endswith("heads")
    ]
    if min(recipe.data.crop) < 1:
        unknown.append("data.crop")
    if unknown:
        raise RecipeError(
            f"{subject}: expected sizes that its tensors show, found some that they do not: "
            f"{', '.join(unknown)}. Add --set {' --set '.join(f'{name}=...' for name in unknown)}."
        )


def _rename(source: Source, entries: Entries) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, tensor in entries.items():
        ours = source.renamed(name)
        if ours is not None:
            weights[ours] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def _check(source: Source, recipe: Recipe, weights: Entries, *, subject: str) -> None:
    """Every name and shape must agree; problems are reported with the names of our parts."""
    with torch.device("meta"):
        expected = source.build(recipe).state_dict()
    alone = all(name.startswith("backbone.") for name in weights)
    if source.optional and alone:
        expected = {name: each for name, each in expected.items() if name.startswith("backbone.")}
    problems = list(differences(expected, weights))
    if problems:
        more = len(problems) - _SHOWN
        shown = [*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise CheckpointError(
            gather(
                shown,
                heading=f"{subject}: expected the {len(expected)} entries of {source.title}, found "
                f"{format_count(len(problems), 'difference')}. Get the whole published file, or "
                "correct --set:",
            )
        )


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
