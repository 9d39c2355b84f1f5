"""Tasks, one file each; a recipe names them by the keys of ``TASKS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unmask.tasks.affinities import Affinities
from unmask.tasks.classify import Classify
from unmask.tasks.embeddings import Embeddings
from unmask.tasks.flows import Flows
from unmask.tasks.semantic import Semantic

TASKS: dict[str, Callable[..., Any]] = {
    "affinities": Affinities,
    "classify": Classify,
    "embeddings": Embeddings,
    "flows": Flows,
    "semantic": Semantic,
}
