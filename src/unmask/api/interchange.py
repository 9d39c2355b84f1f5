"""``convert`` and ``load_official``: weights of published programs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from unmask import checkpoint
from unmask.api.values import Settings
from unmask.errors import RecipeError, message
from unmask.interop import official
from unmask.interop.bioimageio import Package, read_package
from unmask.interop.installed import find_weights
from unmask.own_files import refuse_existing
from unmask.training.provenance import versions

# Source of packages, which hold a description of their network.
_PACKAGE = "bioimageio"


def convert(
    weights: str | Path,
    *,
    source: str,
    out: str | Path,
    settings: Settings = (),
    overwrite: bool = False,
) -> Path:
    """Turn a published file of weights into a model file.

    The model file carries a full recipe and where the weights come from: a segmenter predicts, and
    every one of them starts a training with ``init``.

    Args:
        weights: safetensors, a PyTorch file, a BioImage.IO package, or the name of an installed
            package that brings weights; nothing in it is executed.
        source: the program that made it: mae, maester, glmae, mediar, ...; or bioimageio for a
            package with a state dict or TorchScript of a network that unmask has.
        out: the model file, ending in ``.safetensors``.
        settings: changes to the recipe, for what the file does not tell.
        overwrite: replace a file that exists.

    Raises:
        CheckpointError: the file is damaged, another program's, or incomplete; names all entries.
        RecipeError: an unknown source, or a size that only you know.
        DataError: ``out`` exists, and ``overwrite`` is False.
        SaveError: ``out`` cannot be written.
    """
    target = Path(out)
    if target.suffix != ".safetensors":
        raise RecipeError(
            f"--out {target}: expected a name that ends in .safetensors, found "
            f"{target.suffix or 'no ending'}. Change it."
        )
    _check_source(source)
    refuse_existing(target, overwrite=overwrite)
    if source == _PACKAGE:
        package = read_package(weights, settings)
        card = {**package.card, "versions": versions(), "origin": _origin(package, weights)}
        checkpoint.save_model(target, package.weights, card)
        return target
    found = official.read(find_weights(weights), source, settings)
    card = {
        "recipe": found.recipe.model_dump(mode="json"),
        "origin": dict(found.origin),
        "license": found.origin["license"],
        "versions": versions(),
    }
    checkpoint.save_model(target, found.weights, card)
    return target


def _check_source(source: str) -> None:
    """Refuse a source that does not exist; one of the user's own is looked up later.

    Raises:
        RecipeError: names all sources, and the nearest one.
    """
    known = sorted([*official.SOURCES, _PACKAGE])
    if source in known or ":" in source:
        return
    near = difflib.get_close_matches(source, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise RecipeError(
        message(
            f"--source {source}",
            expected=f"one of {', '.join(known)}",
            found="another name",
            do=f"{hint}Correct it.",
        )
    )


def _origin(package: Package, path: str | Path) -> dict[str, Any]:
    """Where the weights of a package come from, with what its card says already."""
    known = package.card.get("origin")
    earlier = dict(known) if isinstance(known, Mapping) else {}
    return {**earlier, "package": Path(path).name}


def load_official(weights: str | Path, *, source: str, settings: Settings = ()) -> nn.Module:
    """The network of a published file, with the outputs of the published program.

    A call on a batch of normalized images ``(B, C, *space)`` gives: for mediar flow y, flow x and
    the foreground's logit ``(B, 3, *space)``; for mae, maester and glmae the class token and one
    token a patch ``(B, 1 + patches, dim)``. Arguments and errors are those of ``convert``.

    Examples:
        >>> model = load_official("from_phase2.pth", source="mediar")  # doctest: +SKIP
        >>> model(torch.rand(1, 3, 512, 512)).shape  # doctest: +SKIP
        torch.Size([1, 3, 512, 512])
    """
    return official.read(find_weights(weights), source, settings).network()
