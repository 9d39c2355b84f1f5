"""The model file: weights and a card that explains them, in one safetensors file."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unmask import hub, shipped
from unmask.atomic import atomic_path
from unmask.checkpoint.card import read_card
from unmask.checkpoint.tensors import Contents, read_contents, write_tensors
from unmask.errors import CheckpointError, gather, message, near_path

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL_FILE = "model.safetensors"
_SHOWN = 5
# First bytes of PyTorch's zip and of its older format; as header lengths both are too large.
_ZIP = b"PK\x03\x04"
_PICKLES = {_ZIP, b"\x80\x02\x8a\x0a"}


@dataclass(frozen=True)
class Model:
    """What a model file holds.

    Attributes:
        weights: tensors by their state-dict name, on the CPU.
        card: recipe, versions, data fingerprint, metrics, license, step; plain JSON values.
        path: the file.
    """

    weights: Mapping[str, Tensor]
    card: Mapping[str, Any]
    path: Path


def save_model(path: Path | str, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write a model file atomically and durably.

    Args:
        path: the file, ending in ``.safetensors``.
        weights: tensors by name, on any device.
        card: what the file says about itself; undefined numbers (NaN) become null.

    Raises:
        CheckpointError: a weight is NaN or infinite.
        SaveError: the disk; an older file of this name is untouched.
    """
    text = json.dumps(plain(card), allow_nan=False)
    with atomic_path(path) as aside:
        write_tensors(aside, weights, {"unmask": text})


@dataclass(frozen=True)
class DescribedModel:
    """What a model file says about itself.

    Attributes:
        shapes: shape of each weight by its state-dict name.
        card: as `Model.card`.
        path: the file.
    """

    shapes: Mapping[str, tuple[int, ...]]
    card: Mapping[str, Any]
    path: Path


def load_model(path: Path | str) -> Model:
    """Read a model file, the best model of a run folder, or a model by its name.

    The name is that of a shipped model, or ``hf:owner/name[@revision]`` of one on a hub.

    Every bit is verified. A path that exists goes before a shipped model of this name.

    Raises:
        CheckpointError: there is none, it is damaged, or it is not a model file of unmask.
    """
    contents, file = _read(path)
    return Model(contents.tensors(), read_card(contents.metadata["unmask"], file), file)


def describe_model(path: Path | str) -> DescribedModel:
    """As `load_model` without the weights and without torch; every bit is verified too.

    Raises:
        CheckpointError: as `load_model`.
    """
    contents, file = _read(path)
    return DescribedModel(contents.shapes, read_card(contents.metadata["unmask"], file), file)


def _read(path: Path | str) -> tuple[Contents, Path]:
    path = hub.fetch_model(path) if hub.is_hub_name(path) else shipped.find(path)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(
            message(
                path,
                expected=f"a model file, a run folder with {MODEL_FILE} or a shipped model",
                found="a folder without a model" if path.is_dir() else "nothing",
                do=f"{near_path(path, shipped.names())}Check the path, or let the run reach its "
                f"first snapshot. {shipped.hint(path)}",
            )
        )
    with file.open("rb") as handle:
        start = handle.read(4)
        # The table of a ZIP file is at its end, which an interrupted copy lacks.
        if start == _ZIP and not zipfile.is_zipfile(file):
            raise CheckpointError(
                message(
                    file,
                    expected="a whole file",
                    found=f"{file.stat().st_size:,} bytes of a file that is cut off or damaged "
                    "(its last part, the list of its contents, is missing)",
                    do="Copy or export it again.",
                )
            )
        if start in _PICKLES:
            raise CheckpointError(
                message(
                    file,
                    expected="safetensors",
                    found="a PyTorch pickle",
                    do="Turn it into a model file with `unmask convert`.",
                )
            )
    contents = _read_safetensors(file)
    if "unmask" not in contents.metadata:
        raise CheckpointError(
            message(
                file,
                expected="a model file with a card",
                found="weights alone",
                do="Turn them into a model file with `unmask convert`.",
            )
        )
    return contents, file


def _read_safetensors(file: Path) -> Contents:
    try:
        return read_contents(file)
    except CheckpointError as error:
        if file.suffix.lower() == Path(MODEL_FILE).suffix:
            raise
        # Damage of a format that the file never had explains nothing.
        raise CheckpointError(
            message(
                file,
                expected="a model file (.safetensors), a run folder, or a file that unmask export "
                "wrote (.onnx, .pt, .zip)",
                found="another file",
                do="Check the path, or use another copy.",
            )
        ) from error


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, source: object) -> None:
    """Give a module its weights; names and shapes must agree without exception.

    Raises:
        CheckpointError: the first differences, by name.
    """
    check_fit(module, weights, source=source)
    module.load_state_dict(dict(weights), strict=True)


def check_fit(module: nn.Module, weights: Mapping[str, Tensor], *, source: object) -> None:
    """Compare names and shapes of a module and of weights; nothing is loaded.

    Raises:
        CheckpointError: the first differences, by name.
    """
    problems = differences(module.state_dict(), weights)
    if problems:
        more = len(problems) - _SHOWN
        shown = [*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise CheckpointError(
            gather(
                shown,
                heading=f"{source} does not fit {type(module).__name__} ({len(problems)} "
                "differences). Use the recipe that the weights were made with, or start from them "
                "with --init, which takes only the backbone:",
            )
        )


def differences(expected: Mapping[str, Any], found: Mapping[str, Tensor]) -> Sequence[str]:
    """What keeps ``found`` from being loaded, one line per name."""
    lines = [
        f"{name}: expected {_describe(tensor)}, found {_describe(found[name])}"
        for name, tensor in expected.items()
        if name in found and _describe(tensor) != _describe(found[name])
    ]
    lines += [f"{name}: missing" for name in expected if name not in found]
    return lines + [f"{name}: not expected" for name in found if name not in expected]


def plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN and infinity become None, paths become text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def _describe(tensor: object) -> str:
    from torch import Tensor

    if not isinstance(tensor, Tensor):
        return type(tensor).__name__
    kind = "numbers" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind} of shape {tuple(tensor.shape)}"
