"""BioImage.IO: a package of weights in three formats, test tensors and a description.

The format is that of https://github.com/bioimage-io/spec-bioimage-io, models of version 0.5.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.errors import CheckpointError, message
from unmask.exports import onnx, torchscript
from unmask.exports.base import Format, Run
from unmask.exports.network import Exported
from unmask.exports.package_text import DECODE_SCRIPT, describe_package, read_me
from unmask.lookup import optional_import
from unmask.space.random import generator
from unmask.yaml_text import read_yaml, write_yaml

DESCRIPTION = "rdf.yaml"
_ONNX, _SCRIPT, _STATE = "weights.onnx", "weights.torchscript.pt", "weights.state_dict.pt"
# Along each axis of the test image, for networks of few and of many axes.
_TEST_SIZES = {1: 256, 2: 64, 3: 24}


def write(network: Exported, description: Mapping[str, Any], path: Path) -> None:
    """Write a package.

    Raises:
        RecipeError: the network cannot be recorded.
    """
    with tempfile.TemporaryDirectory(prefix="unmask-") as folder:
        inside = Path(folder)
        onnx.write(network, description, inside / _ONNX)
        torchscript.write(network, description, inside / _SCRIPT)
        torch.save(network.state_dict(), inside / _STATE)
        (inside / "decode.py").write_text(DECODE_SCRIPT, encoding="utf-8")
        (inside / "README.md").write_text(read_me(description), encoding="utf-8")
        _write_tensors(network, description, inside)
        digests = {file.name: _digest(file) for file in sorted(inside.iterdir())}
        tree = describe_package(description, digests, torch.__version__.partition("+")[0])
        # The recipe stands in two places; as one object it would become an alias of YAML.
        tree = json.loads(json.dumps(tree))
        (inside / DESCRIPTION).write_text(write_yaml(tree), encoding="utf-8")
        _zip(inside, path)


def _write_tensors(network: Exported, description: Mapping[str, Any], folder: Path) -> None:
    """A test image in the range of 8 bits, and the scores of it."""
    channels, ndim = description["input"]["channels"], len(description["axes"])
    shape = (1, channels, *(_TEST_SIZES[ndim],) * ndim)
    image = np.floor(generator(0, "export").random(shape) * 256).astype(np.float32)
    seen = torch.from_numpy(normalize_as_described(image, description["normalize"]))
    with torch.no_grad():
        scores = network(seen).numpy()
    np.save(folder / "test_input.npy", image)
    np.save(folder / "test_output.npy", scores)


def normalize_as_described(image: np.ndarray, normalize: Mapping[str, Any]) -> np.ndarray:
    """The image as the preprocessing of the package makes it."""
    from unmask.data import NORMALIZERS
    from unmask.lookup import Choice, build

    if normalize["inside"] or not has_preprocessing(normalize):
        return image
    known = {"inside", "measured", "name"}
    options = {key: value for key, value in normalize.items() if key not in known}
    measured = build(Choice(normalize["name"], options), NORMALIZERS, "normalize")
    return measured.measure(image[0]).apply(image[0])[None]


def has_preprocessing(normalize: Mapping[str, Any]) -> bool:
    """Whether the format can describe the normalization."""
    known = normalize["name"] in {"percentile", "minmax", "zscore"}
    return known and not normalize.get("nonzero")


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _zip(folder: Path, path: Path) -> None:
    """All files of a folder; weights are stored as they are, as they hardly shrink."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        # The description comes first, so that readers find it at once.
        for file in sorted(folder.iterdir(), key=lambda each: (each.name != DESCRIPTION, each)):
            archive.write(file, file.name)


def open_package(path: Path) -> Run:
    """Run the ONNX weights of a package on the CPU.

    Raises:
        CheckpointError: the package is damaged, or its weights are not the described ones.
    """
    from unmask.interop.bioimageio import check_digest

    weights = _read_tree(path).get("weights")
    entry = weights.get("onnx") if isinstance(weights, Mapping) else None
    with tempfile.TemporaryDirectory(prefix="unmask-") as folder:
        file = extract(path, _ONNX, Path(folder))
        check_digest(file, entry if isinstance(entry, Mapping) else {}, path)
        return onnx.open_session(file)


def extract(path: Path, name: str, folder: Path) -> Path:
    """Copy one file of a package to a folder.

    Raises:
        CheckpointError: the package is damaged, or has no such file.
    """
    target = folder / name
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(name) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(
            message(
                path,
                expected=f"a BioImage.IO package with {name}",
                found=f"none, or damage ({error})",
                do="Use another copy, or export the model again.",
            )
        ) from error
    return target


def describe(path: Path) -> Mapping[str, Any]:
    """What a package says about the network.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    config = _read_tree(path).get("config")
    found = config.get("unmask") if isinstance(config, Mapping) else None
    if not isinstance(found, Mapping):
        raise CheckpointError(
            message(
                path,
                expected="a package that unmask exported (config.unmask)",
                found="another one",
                do="Turn a package of a known network into a model with unmask convert --source "
                "bioimageio, or run it with the program that made it.",
            )
        )
    return found


def _read_tree(path: Path) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory(prefix="unmask-") as folder:
        text = extract(path, DESCRIPTION, Path(folder)).read_text(encoding="utf-8")
    tree = read_yaml(text, f"{path}: {DESCRIPTION}")
    return tree if isinstance(tree, Mapping) else {}


def test_package(path: Path) -> None:
    """Run the tests of a package with ``bioimageio.core``, offline.

    Raises:
        CheckpointError: a test fails; names each.
    """
    with warnings.catch_warnings():
        # It warns of recommended fields, such as a picture, and of its own dependencies.
        warnings.simplefilter("ignore")
        core = optional_import("bioimageio.core", "export")
        summary = core.test_description(path)
    if summary.status == "passed":
        return
    failed = [each.name for each in summary.details if each.status == "failed"]
    raise CheckpointError(
        message(
            path,
            expected="a package that passes the tests of bioimageio.core",
            found=f"failed: {'; '.join(failed)}"[:500],
            do="The file was not kept. Report this with the recipe of the model.",
        )
    )


FORMAT = Format("BioImage.IO", ".zip", write, open_package, describe, test_package)
