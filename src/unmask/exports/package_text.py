"""The texts of a BioImage.IO package: its description, its README and the decoding script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from unmask.checkpoint.lineage import ancestors, described_data
from unmask.licenses import spdx_identifier

FORMAT_VERSION = "0.5.12"
_SMALLEST = {1: 64, 2: 32, 3: 16}

DECODE_SCRIPT = '''"""Labels of scores of this network: python decode.py scores.npy labels.tif

The scores are (channels, [z,] y, x) of one image, or a batch of one. Needs: pip install unmask
"""

import sys
from pathlib import Path

import numpy as np
import tifffile
import unmask

from unmask.errors import UnmaskError

if len(sys.argv) != 3:
    sys.exit(__doc__)
folder = Path(__file__).parent
try:
    scores = np.load(sys.argv[1])
    # The network's output has an axis of the batch, as test_output.npy.
    if scores.ndim == np.load(folder / "test_output.npy", mmap_mode="r").ndim:
        if len(scores) != 1:
            sys.exit(f"{sys.argv[1]}: expected the scores of one image, found a batch of "
                     f"{len(scores)}. Save each as a file.")
        scores = scores[0]
    labels = unmask.decode(folder / "weights.onnx", scores)
except (OSError, ValueError, UnmaskError) as error:
    sys.exit(f"{sys.argv[1]}: {error}")
tifffile.imwrite(sys.argv[2], labels)
print(f"{len(np.unique(labels[labels > 0]))} labels: {sys.argv[2]}")
'''


def describe_package(
    description: Mapping[str, Any], digests: Mapping[str, str], torch_version: str
) -> dict[str, Any]:
    """The tree of ``rdf.yaml``.

    Args:
        description: of the network.
        digests: SHA-256 of each file of the package.
        torch_version: that wrote the weights.
    """
    card = description["card"]
    # The format takes identifiers of SPDX; other texts stand in the README and in the card.
    spdx = spdx_identifier(_license(card))
    known = {"license": spdx} if spdx else {}
    return {
        "format_version": FORMAT_VERSION,
        "type": "model",
        "name": _name(description["name"]),
        "description": (card["recipe"].get("description") or "segmentation network")[:1024],
        # The format requires an author, whose name has no slash.
        "authors": [
            {"name": name.replace("/", "-").replace("\\", "-")}
            for name in _authors(card) or ["unmask"]
        ],
        "cite": _citations(card),
        **known,
        "tags": ["unmask", "segmentation", description["task"]["name"]],
        "documentation": _file("README.md", digests),
        "attachments": [_file("decode.py", digests)],
        "inputs": [_input(description, digests)],
        "outputs": [_output(description, digests)],
        "weights": _weights(card, digests, torch_version),
        "config": {"unmask": dict(description)},
    }


def _name(name: str) -> str:
    clean = "".join(mark if mark.isalnum() or mark in " _-+()" else "-" for mark in name)
    return f"unmask {clean}"[:128]


def _license(card: Mapping[str, Any]) -> str:
    return str(card.get("license") or card.get("licence") or "")


def _authors(card: Mapping[str, Any]) -> list[str]:
    authors = card.get("authors")
    return [str(name) for name in authors if name] if isinstance(authors, list) else []


def _citations(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """Citations of the training data of the model and of its start weights, or of unmask."""
    data = [described_data(card.get("data")), *(each.data for each in ancestors(card))]
    texts = dict.fromkeys(each["citation"] for each in data if each.get("citation"))
    return [_cite(text) for text in texts] or [_cite("unmask: images to masks with few labels")]


def _cite(text: str) -> dict[str, str]:
    """A citation, whose first DOI is a field of its own."""
    doi = re.search(r"doi:([^\s,;)]+)", text)
    if doi is None:
        return {"text": text, "url": "https://bioimage.io"}
    return {"text": text, "doi": doi[1].rstrip(".")}


def _file(name: str, digests: Mapping[str, str]) -> dict[str, str]:
    return {"source": name, "sha256": digests[name]}


def _input(description: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    axes = description["axes"]
    given = description["input"]
    names = given["channel_names"] or [f"channel_{n}" for n in range(given["channels"])]
    size = {"min": _SMALLEST[len(axes)], "step": 1}
    return {
        "id": "image",
        "description": "image, slow axis first",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": list(names)},
            *({"type": "space", "id": axis, "size": dict(size)} for axis in axes),
        ],
        "data": {"type": "float32"},
        "preprocessing": preprocessing(description["normalize"], axes),
        "test_tensor": _file("test_input.npy", digests),
    }


def _output(description: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": "scores",
        "description": "scores per voxel; see decode.py for labels",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": list(description["output"]["channels"])},
            *(
                {"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}}
                for axis in description["axes"]
            ),
        ],
        "data": {"type": "float32"},
        "test_tensor": _file("test_output.npy", digests),
    }


def _weights(
    card: Mapping[str, Any], digests: Mapping[str, str], torch_version: str
) -> dict[str, Any]:
    first = "pytorch_state_dict"
    return {
        first: {
            **_file("weights.state_dict.pt", digests),
            "architecture": {
                "callable": "build_exported",
                "import_from": "unmask.exports.architecture",
                "kwargs": {"recipe": card["recipe"]},
            },
            "pytorch_version": torch_version,
        },
        "torchscript": {
            **_file("weights.torchscript.pt", digests),
            "parent": first,
            "pytorch_version": torch_version,
        },
        "onnx": {**_file("weights.onnx", digests), "parent": first, "opset_version": 20},
    }


def preprocessing(normalize: Mapping[str, Any], axes: str) -> list[dict[str, Any]]:
    """The normalization as steps of the format; of others than it knows only the number type."""
    steps: list[dict[str, Any]] = [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    if normalize["inside"] or normalize.get("nonzero"):
        return steps
    together = list(axes) if normalize.get("per_channel") else ["channel", *axes]
    if normalize["name"] in {"percentile", "minmax"}:
        limits = (normalize.get("low", 0.0), normalize.get("high", 100.0))
        kwargs = {"axes": together, "min_percentile": limits[0], "max_percentile": limits[1]}
        steps.append({"id": "scale_range", "kwargs": kwargs})
    elif normalize["name"] == "zscore":
        steps.append({"id": "zero_mean_unit_variance", "kwargs": {"axes": together}})
    if len(steps) > 1 and normalize.get("clip"):
        low, high = normalize["clip"]
        steps.append({"id": "clip", "kwargs": {"min": low, "max": high}})
    return steps


def read_me(description: Mapping[str, Any]) -> str:
    """The README of a package."""
    card, normalize = description["card"], description["normalize"]
    scores = ", ".join(description["output"]["channels"])
    trained = described_data(card.get("data")).get("name")
    lines = [
        f"# {description['name']}",
        card["recipe"].get("description") or "",
        "",
        f"- Trained on: {trained or 'not stated'}",
        f"- License: {_license(card) or 'not stated'}",
        f"- Authors: {', '.join(_authors(card)) or 'not stated'}",
        *_started(card),
        f"- Images: float32, axes {description['input']['axes']}, "
        f"{description['input']['channels']} channels, any batch and size.",
        f"- Normalization: {normalize['name']}, "
        + ("inside the network." if normalize["inside"] else f"{normalize['measured']}."),
        f"- Scores: {scores}.",
        "- Labels: `python decode.py scores.npy labels.tif`, or "
        "`unmask predict IMAGES --model weights.onnx --out DIR` for everything at once.",
        "",
        "## Validation",
        "Compare labels with a truth of your own images: "
        "`unmask evaluate --truth TRUTH --predicted LABELS`.",
        "",
    ]
    return "\n".join(lines)


def _started(card: Mapping[str, Any]) -> list[str]:
    """A line for each model that the weights started from."""
    return [
        f"- Start weights: {each.name}, license {each.license or 'not stated'}"
        + (f", trained on {each.data['name']}" if each.data.get("name") else "")
        for each in ancestors(card)
    ]
