"""The folder of a shared model: complete or not there, with the digests of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from unmask import hub
from unmask.atomic import aside_name, make_folder, remove, replace_folder, saving, tidy_folder
from unmask.checkpoint import load_model, save_model
from unmask.errors import RecipeError, message
from unmask.sharing.publication import Publication
from unmask.sharing.texts import citation, example, readme

EXAMPLES = "examples"
_OWN = {hub.MODEL, "README.md", "CITATION.cff", hub.DIGESTS, EXAMPLES}

Draw = Callable[[Path], list[Path]]


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything but an earlier shared model that may be replaced.

    Raises:
        RecipeError: it holds other files, or a shared model and ``overwrite`` is False.
    """
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    strangers = sorted(names - _OWN)
    if strangers or (names and not overwrite):
        shown = ", ".join(strangers[:3] or sorted(names)[:3])
        raise RecipeError(
            message(
                f"--to {folder}",
                expected="a folder that does not exist, or is empty",
                found=f"{shown} in it",
                do="Choose another folder."
                + ("" if strangers else " --overwrite replaces the shared model."),
            )
        )


def write_folder(
    folder: Path, source: Path, publication: Publication, *, name: str, draw: Draw
) -> list[Path]:
    """Write a shared model.

    Args:
        folder: what to write; replaced as a whole.
        source: model file or run folder.
        publication: what the model says about itself.
        name: what others give as ``--model``.
        draw: writes pictures into the folder that it gets, and returns their paths.

    Returns:
        The files, relative to the folder.

    Raises:
        SaveError: the disk; an older folder of this name is whole.
    """
    aside = folder.with_name(aside_name(folder))
    with saving(folder), tidy_folder(folder.parent):
        try:
            remove(aside)
            make_folder(aside / EXAMPLES)
            save_model(aside / hub.MODEL, load_model(source).weights, publication.card)
            pictures = draw(aside / EXAMPLES)
            shown = [path.relative_to(aside).as_posix() for path in pictures]
            _write(aside / EXAMPLES / "predict.py", example(publication))
            _write(aside / "README.md", readme(publication, name, shown))
            _write(aside / "CITATION.cff", citation(publication))
            files = sorted(path for path in aside.rglob("*") if path.is_file())
            _write(aside / hub.DIGESTS, "".join(_digest(path, aside) for path in files))
            replace_folder(aside, folder)
        finally:
            remove(aside)
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _digest(path: Path, folder: Path) -> str:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return f"{digest}  {path.relative_to(folder).as_posix()}\n"
