"""An exported file as a model of unmask: its scores are tiled, joined and decoded as usual."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unmask import checkpoint
from unmask.build import build_task
from unmask.exports import FORMATS
from unmask.exports.base import Format, Run
from unmask.exports.description import check_description
from unmask.recipe import Recipe
from unmask.tasks.complete import complete


class ExportedSegmenter(nn.Module):
    """The network of an exported file; ``logits`` gives scores, which its task leaves alone.

    Args:
        run: runs the file.
        digest: of the file.
        task: of the recipe.
    """

    digest: Tensor

    def __init__(self, run: Run, digest: bytes, task: Any) -> None:
        super().__init__()
        self.run = run
        # A resumed prediction compares the digest of all weights.
        self.register_buffer("digest", torch.from_numpy(np.frombuffer(digest, np.uint8).copy()))
        self.task = self.adapt(task)

    def adapt(self, task: Any) -> Any:
        """The task with scores in place of logits."""
        whole = copy(complete(task))
        object.__setattr__(whole, "__class__", _activated(type(whole)))
        return whole

    def logits(self, image: Float[Tensor, "b c *space"]) -> Float[Tensor, "b s *space"]:
        """Scores of a batch."""
        return torch.from_numpy(np.ascontiguousarray(self.run(image.float().cpu().numpy())))


@lru_cache
def _activated(kind: type[Any]) -> type[Any]:
    """The class of a task whose network gives scores; its name and options stay."""

    def activate(self: Any, logits: Tensor) -> Tensor:  # noqa: ARG001 - the contract of tasks
        return logits.float()

    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(kind.__name__, (kind,), {"__slots__": (), "activate": activate, **names})


def read_exported(
    path: Path, *, allow_code: bool = False
) -> tuple[ExportedSegmenter, Recipe, Mapping[str, Any]]:
    """Network, recipe and card of an exported file.

    The recipe is that of the model, without the normalization if the file contains it.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    description = describe_exported(path)
    card = description["card"]
    recipe, _ = checkpoint.recipe_inside(card, path, allow_code=allow_code)
    changes = ["infer.average=scores"]
    if description["normalize"].get("inside"):
        changes.append("data.normalize=none")
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").digest()
    recipe = recipe.with_settings(changes)
    return ExportedSegmenter(_form_of(path).open(path), digest, build_task(recipe)), recipe, card


def describe_exported(path: Path) -> Mapping[str, Any]:
    """What an exported file says of its network.

    Raises:
        CheckpointError: damaged, or not exported by unmask.
    """
    return check_description(_form_of(path).describe(path), path)


def _form_of(path: Path) -> Format:
    return next(FORMATS[name] for name in FORMATS if FORMATS[name].suffix == path.suffix.lower())
