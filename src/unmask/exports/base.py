"""Contract of a file format for networks: one value for each format.

To add one, write ``FORMAT = Format(...)`` into a module and register it in the group
``unmask.exports`` of entry points; ``onnx.py`` is an example.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unmask.errors import CheckpointError, message
from unmask.exports.network import Exported

# A batch of images ``(B, C, *space)`` to scores ``(B, S, *space)``.
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """How a network is written to a file and run from it.

    Attributes:
        title: name of the format for messages.
        suffix: the ending of its files.
        write: write the network and what describes it to a path that nothing is at.
        open: run a file that ``write`` made, on the CPU.
        describe: what describes the network of such a file.
        check: more to check of a file, after its scores were compared; raises `CheckpointError`.
    """

    title: str
    suffix: str
    write: Callable[[Exported, Mapping[str, Any], Path], None]
    open: Callable[[Path], Run]
    describe: Callable[[Path], Mapping[str, Any]]
    check: Callable[[Path], None] | None = None


def unreadable(path: Path, kind: str) -> CheckpointError:
    """The error about a missing file, or one that the program of its format refuses."""
    return CheckpointError(
        message(
            path,
            expected=kind,
            found="nothing" if not path.exists() else "a damaged or another file",
            do="Use another copy, or export the model again.",
        )
    )


def parse_description(text: str | None, path: Path) -> Mapping[str, Any]:
    """The description that ``unmask export`` stored in a file.

    Raises:
        CheckpointError: there is none.
    """
    if text:
        return json.loads(text)
    raise CheckpointError(
        message(
            path,
            expected="a network that unmask exported",
            found="one without its description",
            do="Run it with the program that made it.",
        )
    )
