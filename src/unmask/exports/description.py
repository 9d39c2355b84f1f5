"""The description in an exported file: inputs, outputs, normalization, decoding, recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import version
from typing import Any

import torch

from unmask.checkpoint.card import described_recipe
from unmask.checkpoint.model import plain
from unmask.errors import CheckpointError, message
from unmask.exports.network import Exported
from unmask.exports.record import sample_image
from unmask.infer.predictor import Predictor
from unmask.space.axes import SPACE

VERSION = 1
_DECODE = (
    "Scores become labels with unmask: unmask.predict(FILE, image), or unmask.decode(FILE, scores) "
    "for scores that another program computed. See docs/howto/export.md."
)


def describe_network(
    predictor: Predictor, network: Exported, card: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """The description of an exported network, as JSON values.

    Args:
        predictor: that the network comes from.
        network: what is exported.
        card: of the model file.
        name: of the model.
    """
    ndim = predictor.ndim
    axes = SPACE[-ndim:].lower()
    recipe = described_recipe(card, name).model_dump(mode="json")
    with torch.no_grad():
        scores = network(sample_image(predictor.channels, ndim, batch=1))
    normalize = dict(recipe["data"]["normalize"])
    measured = predictor.normalize
    options = asdict(measured) if is_dataclass(measured) else {}
    tiling, view = predictor.tiling, predictor.view
    return plain(
        {
            "format": VERSION,
            "unmask": version("unmask"),
            "name": name,
            "axes": axes,
            "input": {
                **_tensor("image", axes),
                "channels": predictor.channels,
                "channel_names": list(card.get("channel_names") or ()),
            },
            "output": {
                **_tensor("scores", axes),
                "channels": score_names(predictor.task, scores.shape[1]),
            },
            "normalize": {
                **options,
                "name": normalize["name"],
                "inside": network.bounds is not None,
                "measured": "once per image, before it is cut into tiles",
            },
            "view": {
                "spacing": view.spacing,
                "scale": recipe["infer"].get("scale") or recipe["data"].get("scale"),
                "foreground_crop": recipe["data"].get("foreground_crop"),
                "fit": recipe["infer"].get("fit", False),
            },
            "tiles": {
                "size": list(tiling.window),
                "overlap": tiling.overlap,
                "blend": tiling.blend,
                "pad": tiling.pad,
            },
            "task": {"name": recipe["task"]["name"], "options": repr(predictor.task)},
            "decode": _DECODE,
            "card": {**card, "recipe": recipe},
        }
    )


def _tensor(name: str, axes: str) -> dict[str, str]:
    return {"name": name, "axes": f"bc{axes}", "dtype": "float32"}


def score_names(task: Any, channels: int) -> list[str]:
    """A name for each channel of the scores."""
    named = getattr(task, "score_names", None)
    names: Sequence[str] = () if named is None else named()
    if len(names) == channels:
        return list(names)
    return [f"score_{channel}" for channel in range(channels)]


def check_description(description: Any, subject: object) -> Mapping[str, Any]:
    """The description of a file, with the fields that running it needs.

    Raises:
        CheckpointError: another version, or fields are missing.
    """
    needed = {"axes", "input", "output", "normalize", "card", "name"}
    if (
        not isinstance(description, Mapping)
        or description.get("format") != VERSION
        or not needed <= set(description)
        or not isinstance(description["card"], Mapping)
    ):
        raise CheckpointError(
            message(
                subject,
                expected=f"a description of version {VERSION}",
                found="a damaged one, or one of another version of unmask",
                do="Export the model again.",
            )
        )
    return description
