"""The network of a BioImage.IO package with a state dict: built from the recipe in the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unmask.build import build_normalizer, build_segmenter
from unmask.exports.network import Exported, find_fixed
from unmask.models.finished import without_start_weights
from unmask.plugins import admit
from unmask.recipe import parse


def build_exported(recipe: Mapping[str, Any]) -> Exported:
    """The network of a recipe with fresh weights, as ``unmask export`` writes it.

    Args:
        recipe: all fields; parts from files are refused.
    """
    tree, _ = admit(dict(recipe), None, subject="package", allow_code=False)
    parsed = without_start_weights(parse(tree, source="package: recipe"))
    segmenter = build_segmenter(parsed)
    fixed = find_fixed(build_normalizer(parsed), parsed.data.channels, parsed.data.ndim)
    return Exported(segmenter, segmenter.task, fixed).eval()
