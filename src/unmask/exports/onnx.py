"""ONNX: a file that ONNX Runtime and many other programs run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.errors import CheckpointError, RecipeError, message
from unmask.exports.base import Format, Run
from unmask.exports.network import Exported
from unmask.exports.record import record, reporting, sample_image
from unmask.lookup import optional_import

# The first version whose Resize, Gelu and Mish cover our layers.
_OPSET = 20
# Protocol buffers hold no more; larger weights would need a second file.
_LARGEST = 1_900_000_000
_KEY = "unmask"


def write(network: Exported, description: Mapping[str, Any], path: Path) -> None:
    """Write a network to an ONNX file; the description is in its metadata.

    Raises:
        RecipeError: the network cannot be recorded, or is too large for the format.
    """
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > _LARGEST:
        raise RecipeError(
            message(
                "export to ONNX",
                expected=f"weights of at most {_LARGEST / 1e9:.1f} GB, as the format holds",
                found=f"{size / 1e9:.1f} GB",
                do="Use --format torchscript.",
            )
        )
    optional_import("onnxscript", "export")
    image = sample_image(description["input"]["channels"], len(description["axes"]))
    program = record(network, image)
    with reporting(network):
        made = torch.onnx.export(
            program,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=["scores"],
            verbose=False,
        )
        if made is None:
            raise TypeError("the exporter returned nothing")
        made.model.metadata_props[_KEY] = json.dumps(description)
        made.save(path)


def open_session(path: Path) -> Run:
    """Run an ONNX file with ONNX Runtime on one thread of the CPU.

    Raises:
        CheckpointError: the file is damaged.
    """
    runtime = optional_import("onnxruntime", "export")
    session = load_session(path, runtime)

    def run(image: np.ndarray) -> np.ndarray:
        return session.run(None, {session.get_inputs()[0].name: image.astype(np.float32)})[0]

    return run


def load_session(path: Path, runtime: Any) -> Any:
    """A session of ONNX Runtime.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime has a class of its own for every kind of damage.
        raise CheckpointError(
            message(
                path,
                expected="an ONNX file",
                found="nothing" if not path.exists() else "a damaged or another file",
                do="Use another copy, or export the model again.",
            )
        ) from error


def describe(path: Path) -> Mapping[str, Any]:
    """What the metadata of an ONNX file says about the network.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    session = load_session(path, optional_import("onnxruntime", "export"))
    text = session.get_modelmeta().custom_metadata_map.get(_KEY)
    if text is None:
        raise CheckpointError(
            message(
                path,
                expected="a network that unmask exported",
                found="one without its description",
                do="Run it with the program that made it.",
            )
        )
    return json.loads(text)


FORMAT = Format("ONNX", ".onnx", write, open_session, describe)
