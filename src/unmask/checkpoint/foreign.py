"""Weights of other programs: safetensors, or PyTorch pickles without any code in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from unmask.checkpoint.tensors import read_tensors
from unmask.errors import CheckpointError, message, near_path

_SCRIPT = Path(__file__).with_name("unpickle.py")
# Address space of a process that only imports torch is some 10 GB where CUDA is linked in.
_MEMORY = 24 << 30
_SECONDS = 600
# The line of a traceback that says what was refused; the advice around it is to trust the file.
_CAUSE = re.compile(
    r"(?:Trying to load|WeightsUnpickler error|^[\w.]+Error: (?!Weights only)).*", re.MULTILINE
)


def load_foreign(path: Path | str) -> dict[str, Any]:
    """Nested dict of tensors (and plain values) of a ``.safetensors``, ``.pth`` or ``.pt`` file.

    Pickles are opened in a child process with limits of memory and time, with
    ``weights_only=True``, and there is no fallback: a file that needs more is refused.

    Raises:
        CheckpointError: missing, damaged, or not weights alone; nothing in it was executed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            message(path, expected="a file of weights", found="nothing",
                    do=f"{near_path(path)}Check the path.")
        )  # fmt: skip
    if path.suffix == ".safetensors":
        return dict(read_tensors(path, digest=False)[0])
    with tempfile.TemporaryDirectory(prefix="unmask-") as folder:
        result = Path(folder) / "weights.safetensors"
        _run_child(path, result)
        tensors, metadata = read_tensors(result, digest=False)
    loaded = _dress(json.loads(metadata["tree"]), tensors)
    if not isinstance(loaded, dict):
        raise CheckpointError(
            message(
                path,
                expected="a dict of tensors",
                found=type(loaded).__name__,
                do="Save the model's state_dict() instead.",
            )
        )
    return loaded


def _run_child(path: Path, result: Path) -> None:
    memory = _MEMORY + 8 * path.stat().st_size
    # -P keeps this folder off the child's import path, where it could hide other modules.
    command = [sys.executable, "-P", str(_SCRIPT), str(path.resolve()), str(result)]
    try:
        done = subprocess.run(
            [*command, str(memory), str(_SECONDS)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=2 * _SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"{path}: expected weights, found a file that could not be opened in "
            f"{2 * _SECONDS} s. Get the file from its authors again."
        ) from error
    if done.returncode:
        cause = _CAUSE.search(done.stderr)
        raise CheckpointError(
            message(
                path,
                expected="a PyTorch file of tensors alone",
                found="damage, another kind of file, or code that was not run "
                f"({cause[0][:300].rstrip(': ') if cause else f'exit {done.returncode}'})",
                do="Ask its authors for safetensors, or save its state_dict() where you trust it.",
            )
        )


def _dress(tree: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    kind, value = next(iter(tree.items()))
    if kind == "tensor":
        return tensors[value]
    if kind == "dict":
        return {key: _dress(item, tensors) for key, item in value}
    if kind == "list":
        return [_dress(item, tensors) for item in value]
    return value
