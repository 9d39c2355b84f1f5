"""ONNX: a file that ONNX Runtime and many other programs run."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unmask.errors import RecipeError, message
from unmask.exports.base import Format, Run, parse_description, unreadable
from unmask.exports.network import Exported
from unmask.exports.record import record, reporting, sample_image, trace
from unmask.lookup import optional_import
from unmask.space.axes import SPACE

# The first version whose Resize, Gelu and Mish cover our layers.
_OPSET = 20
# Protocol buffers hold no more; larger weights would need a second file.
_LARGEST = 1_900_000_000
_KEY = "unmask"
# PyTorch calls its exporter of traced graphs finished; without it programs are converted.
_TRACES = "dynamo" in inspect.signature(torch.onnx.export).parameters


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
    files: Any = optional_import("onnx", "export")
    channels, ndim = description["input"]["channels"], len(description["axes"])
    convert = convert_trace if _TRACES else convert_program
    convert(network, channels, ndim, path)
    made = files.load(path)
    files.helper.set_model_props(made, {_KEY: json.dumps(description)})
    files.save(made, path)


def convert_trace(network: Exported, channels: int, ndim: int, path: Path) -> None:
    """Write the traced graph of a network: sizes are operations in it, nothing has to be proved."""
    script = trace(network, channels, ndim)
    names = {0: "batch"} | dict(enumerate(SPACE[-ndim:].lower(), 2))
    with reporting(network), torch.no_grad():
        torch.onnx.export(
            script,
            (sample_image(channels, ndim),),
            path,
            opset_version=_OPSET,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": names, "scores": names},
            dynamo=False,
        )


def convert_program(network: Exported, channels: int, ndim: int, path: Path) -> None:
    """Write the graph that ``torch.export`` records, for versions of PyTorch without the other way.

    It takes some ten times as long, as a solver compares all sizes, and for networks of many
    levels minutes.
    """
    optional_import("onnxscript", "export")
    program = record(network, channels, ndim)
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
        made.save(path)


def open_session(path: Path) -> Run:
    """Run an ONNX file with ONNX Runtime on the CPU, with as many threads as PyTorch.

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
        raise unreadable(path, "an ONNX file") from error


def describe(path: Path) -> Mapping[str, Any]:
    """What the metadata of an ONNX file says about the network.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    session = load_session(path, optional_import("onnxruntime", "export"))
    return parse_description(session.get_modelmeta().custom_metadata_map.get(_KEY), path)


FORMAT = Format("ONNX", ".onnx", write, open_session, describe)
