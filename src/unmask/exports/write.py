"""Export a model to a file: all of it, checked if asked for, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmask import checkpoint, shipped
from unmask.atomic import atomic_path
from unmask.errors import RecipeError, message
from unmask.exports import FORMATS
from unmask.exports.base import Format
from unmask.exports.check import Comparison, check_shapes, compare
from unmask.exports.description import describe_network
from unmask.exports.network import make_exported
from unmask.infer.load import is_exported, load_predictor
from unmask.lookup import find

ModelLike = str | Path


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written.

    Attributes:
        path: the file.
        format: its format.
        size: bytes.
        description: what the file says of its network.
        comparison: with the scores of the network; None: not checked.
    """

    path: Path
    format: str
    size: int
    description: dict[str, Any]
    comparison: Comparison | None = None


def export_model(
    model: ModelLike,
    out: Path,
    *,
    form: str,
    check: bool = False,
    allow_code: bool = False,
    say: Callable[[str], None] | None = None,
) -> ExportedFile:
    """Write a model in another format.

    Args:
        model: model file, run or shipped model.
        out: the file; it must not exist.
        form: key of `FORMATS`.
        check: run the file, and compare its scores with those of the network.
        allow_code: run parts that the model carries as source.
        say: receives notes on the code of the model that runs.

    Raises:
        RecipeError: an unknown format, another ending, an exported file, or a network that
            cannot be exported.
        CheckpointError: no such model, or the check failed.
        SaveError: the disk.
    """
    chosen: Format = find(form, FORMATS, "--format")  # pyright: ignore[reportAssignmentType]
    check_out(out, chosen)
    if is_exported(model):
        raise RecipeError(
            message(
                f"--model {model}",
                expected="a model file, a run or a shipped model",
                found="an exported file",
                do="Export the model that it was made of. A package becomes a model again with "
                "unmask convert --source bioimageio.",
            )
        )
    predictor = load_predictor(model, allow_code=allow_code, say=say)
    loaded = checkpoint.load_model(model)
    if say is not None and chosen.suffix == ".zip" and (note := _missing_terms(loaded.card, model)):
        say(note)
    name = loaded.card.get("name") or (model if isinstance(model, str) else model.stem)
    network = make_exported(predictor)
    description = describe_network(predictor, network, loaded.card, Path(str(name)).stem)
    comparison = None
    with atomic_path(out) as aside:
        chosen.write(network, description, aside)
        if check:
            shapes = check_shapes(predictor.channels, predictor.tiling.window)
            comparison = compare(network, chosen, aside, shapes)
            if chosen.check is not None:
                chosen.check(aside)
    return ExportedFile(out, form, out.stat().st_size, description, comparison)


def _missing_terms(card: Mapping[str, Any], model: ModelLike) -> str:
    """A note if a package for others will lack a license or authors; otherwise empty."""
    missing = [name for name, key in (("license", "license"), ("author", "authors"))
               if not card.get(key)]  # fmt: skip
    if not missing or str(model) in shipped.names():
        return ""
    return (
        f"note: the model names no {' and no '.join(missing)}, so neither does the package. Write "
        f"them into a copy first: unmask share {model} --to FOLDER --license SPDX --author NAME; "
        "then export FOLDER."
    )


def check_out(out: Path, form: Format) -> None:
    """Refuse a name with another ending, and a file that is there already.

    Raises:
        RecipeError: either of them.
    """
    if out.suffix != form.suffix:
        raise RecipeError(
            message(
                f"--out {out}",
                expected=f"a name that ends in {form.suffix}, as {form.title} files do",
                found=out.suffix or "no ending",
                do="Change it, or choose another --format.",
            )
        )
    if out.exists():
        raise RecipeError(
            message(
                f"--out {out}",
                expected="a path that does not exist",
                found="a folder" if out.is_dir() else "a file",
                do="Remove it, or choose another name.",
            )
        )
