from .card import code_fields, described_recipe, recipe_inside
from .foreign import load_foreign
from .lock import lock_run
from .model import (
    DescribedModel,
    Model,
    check_fit,
    describe_model,
    load_model,
    load_weights,
    save_model,
)
from .snapshots import Snapshot, load_snapshot, remove_leftovers, save_snapshot

__all__ = [
    "DescribedModel",
    "Model",
    "Snapshot",
    "check_fit",
    "code_fields",
    "describe_model",
    "described_recipe",
    "load_foreign",
    "load_model",
    "load_snapshot",
    "load_weights",
    "lock_run",
    "recipe_inside",
    "remove_leftovers",
    "save_model",
    "save_snapshot",
]
