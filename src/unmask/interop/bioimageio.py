"""BioImage.IO packages whose network is one of ours: a state dict or TorchScript, and its recipe.

Nothing in a package is run, and nothing is unpacked outside a temporary folder.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from unmask import checkpoint
from unmask.build import build_segmenter
from unmask.checkpoint.script_archive import load_script_state
from unmask.errors import CheckpointError, RecipeError, message
from unmask.interop import official
from unmask.models.finished import build_finished
from unmask.yaml_text import read_yaml

_NAMES = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
_LARGEST_TEXT = 4 << 20
_FORMATS = ("pytorch_state_dict", "torchscript")
# What ``unmask export`` puts around a segmenter.
_PREFIX, _OWN = "segmenter.", ("scale", "shift")
_DO = "Use another copy of the package."


@dataclass(frozen=True)
class Package:
    """The model of a package.

    Attributes:
        weights: by our names.
        card: of the model file to write.
    """

    weights: Mapping[str, Tensor]
    card: Mapping[str, Any]


def read_package(path: Path | str, settings: Iterable[str] = ()) -> Package:
    """Read the model of a package, a ``.zip`` file, a folder, or its ``rdf.yaml``.

    Args:
        path: the package.
        settings: changes to the recipe of published weights, for what their tensors do not show.

    Raises:
        CheckpointError: damaged, weights of another digest than the description says, or a network
            that is not ours.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="unmask-") as temporary:
        source = _Files(path, Path(temporary))
        tree = _description(source, path)
        form, entry = _weights_entry(tree, path)
        file = source.take(str(entry.get("source")))
        check_digest(file, entry, path)
        described = tree.get("config")
        ours = described.get("unmask") if isinstance(described, Mapping) else None
        if isinstance(ours, Mapping) and isinstance(ours.get("card"), Mapping):
            return _own(_state(file, form), ours["card"], path)
        if form == "pytorch_state_dict":
            return _read_published(file, path, settings)
    raise CheckpointError(_unknown(path, "TorchScript without a recipe of unmask"))


class _Files:
    """Files of a package, in a folder that may be removed later."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path, self.temporary = path, temporary
        self.folder = path if path.is_dir() else None if zipfile.is_zipfile(path) else path.parent
        if not path.exists():
            raise CheckpointError(
                message(path, expected="a package", found="nothing", do="Check the path.")
            )

    def names(self) -> set[str]:
        """Names of the files at the top of the package."""
        if self.folder is not None:
            return {each.name for each in self.folder.iterdir() if each.is_file()}
        with zipfile.ZipFile(self.path) as archive:
            return set(archive.namelist())

    def take(self, name: str) -> Path:
        """A file of the package, on disk."""
        inner = PurePosixPath(name)
        if inner.is_absolute() or ".." in inner.parts or "://" in name or name not in self._all():
            raise CheckpointError(
                message(
                    self.path,
                    expected=f"the file {name!r} inside the package",
                    found="none" if "://" not in name else "an address elsewhere",
                    do="Download the whole package.",
                )
            )
        if self.folder is not None:
            return self.folder / inner
        target = self.temporary / f"file{len(list(self.temporary.iterdir()))}{inner.suffix}"
        try:
            with (
                zipfile.ZipFile(self.path) as archive,
                archive.open(name) as source,
                target.open("wb") as sink,
            ):
                shutil.copyfileobj(source, sink)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise CheckpointError(
                message(self.path, expected="a whole package", found=f"damage ({error})", do=_DO)
            ) from error
        return target

    def _all(self) -> set[str]:
        if self.folder is None:
            return self.names()
        root = self.folder
        return {each.relative_to(root).as_posix() for each in root.rglob("*") if each.is_file()}


def _description(source: _Files, path: Path) -> Mapping[str, Any]:
    names = [name for name in _NAMES if name in source.names()]
    if source.path.suffix in {".yaml", ".yml"}:
        names = [source.path.name]
    if not names:
        raise CheckpointError(
            message(path, expected=f"a package with {_NAMES[0]}", found="none in it", do=_DO)
        )
    file = source.take(names[0])
    if file.stat().st_size > _LARGEST_TEXT:
        raise CheckpointError(
            message(path, expected="a description of some KB", found="a larger one", do=_DO)
        )
    try:
        tree = read_yaml(file.read_text(encoding="utf-8"), f"{path}: {names[0]}")
    except (UnicodeDecodeError, RecipeError) as error:
        raise CheckpointError(
            message(
                path,
                expected="a description in YAML",
                found=f"other text ({str(error).partition('found ')[2][:120].rstrip('. ')})",
                do=_DO,
            )
        ) from error
    if not isinstance(tree, Mapping) or tree.get("type") != "model":
        raise CheckpointError(
            message(path, expected="the description of a model", found="another one", do=_DO)
        )
    return tree


def _weights_entry(tree: Mapping[str, Any], path: Path) -> tuple[str, Mapping[str, Any]]:
    weights = tree.get("weights")
    kinds = weights if isinstance(weights, Mapping) else {}
    for form in _FORMATS:
        entry = kinds.get(form)
        if isinstance(entry, Mapping) and isinstance(entry.get("source"), str):
            return form, entry
    raise CheckpointError(_unknown(path, f"weights as {', '.join(map(str, kinds)) or 'nothing'}"))


def check_digest(file: Path, entry: Mapping[str, Any], path: Path) -> None:
    """Compare a file of a package with the digest that its description states, if any.

    Args:
        file: the file on disk.
        entry: of the description, with ``source`` and ``sha256``.
        path: of the package, for messages.

    Raises:
        CheckpointError: they differ.
    """
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    expected = entry.get("sha256")
    if expected is not None and str(expected).lower() != found:
        raise CheckpointError(
            message(
                f"{path}: {entry.get('source')}",
                expected=f"SHA-256 {str(expected)[:12]}... as the description says",
                found=f"{found[:12]}...",
                do="The file is damaged or was exchanged. " + _DO,
            )
        )


def _state(file: Path, form: str) -> dict[str, Tensor]:
    if form == "torchscript":
        return load_script_state(file)
    return {k: v for k, v in checkpoint.load_foreign(file).items() if isinstance(v, Tensor)}


def _own(state: Mapping[str, Tensor], card: Mapping[str, Any], path: Path) -> Package:
    """A package of ``unmask export``: the card has the recipe, names have a prefix."""
    recipe, _ = checkpoint.recipe_inside(card, path)
    weights = {
        name.removeprefix(_PREFIX): tensor for name, tensor in state.items() if name not in _OWN
    }
    build_finished(recipe, weights, build_segmenter, source=path)
    return Package(weights, dict(card))


def _read_published(file: Path, path: Path, settings: Iterable[str]) -> Package:
    """A state dict of a published program that `official` knows, by names and shapes."""
    tree = checkpoint.load_foreign(file)
    for name, source in official.SOURCES.items():
        if source.belongs(source.unpack(tree)):
            found = official.understand(tree, name, settings, subject=str(path))
            origin = {"source": name, "title": source.title, "license": source.license}
            card = {
                "recipe": found.recipe.model_dump(mode="json"),
                "origin": {**origin, "file": path.name},
                "license": source.license,
            }
            return Package(found.weights, card)
    raise CheckpointError(_unknown(path, "weights of a network that unmask does not have"))


def _unknown(path: Path, found: str) -> str:
    return message(
        path,
        expected="a package with a state dict or TorchScript of a network of unmask, MEDIAR, PEA "
        "or another published program that unmask convert reads",
        found=found,
        do="Run the package with bioimageio.core.",
    )
