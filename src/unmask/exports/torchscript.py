"""TorchScript: a file that PyTorch runs from C++ and Python without unmask."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.exports.base import Format, Run, parse_description, unreadable
from unmask.exports.network import Exported
from unmask.exports.record import trace

_FILE = "unmask.json"


def write(network: Exported, description: Mapping[str, Any], path: Path) -> None:
    """Write a network to a TorchScript file; the description is an extra file inside it.

    Raises:
        RecipeError: the network cannot be recorded.
    """
    script = trace(network, description["input"]["channels"], len(description["axes"]))
    with warnings.catch_warnings():
        # PyTorch calls the format finished, and keeps reading and writing it.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(script, path, _extra_files={_FILE: json.dumps(description)})


def open_script(path: Path) -> Run:
    """Run a TorchScript file on the CPU.

    Raises:
        CheckpointError: the file is damaged.
    """
    script, _ = load_script(path)

    def run(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return script(torch.from_numpy(image.astype(np.float32))).numpy()

    return run


def load_script(path: Path) -> tuple[torch.jit.ScriptModule, str]:
    """The module of a file and the text of its description; empty if it has none.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    extra: dict[str, Any] = {_FILE: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script = torch.jit.load(path, map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError, OSError) as error:
        raise unreadable(path, "a TorchScript file") from error
    text = extra[_FILE]
    return script.eval(), text.decode() if isinstance(text, bytes) else text


def describe(path: Path) -> Mapping[str, Any]:
    """What a TorchScript file says about its network.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    _, text = load_script(path)
    return parse_description(text, path)


FORMAT = Format("TorchScript", ".pt", write, open_script, describe)
