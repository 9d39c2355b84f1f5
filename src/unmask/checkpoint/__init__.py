"""Model files, snapshots of runs, the lock of a run folder, and foreign weights.

Everything is safetensors and JSON, written aside and renamed, and verified bit by bit on load.
"""

from unmask.checkpoint.card import code_fields, described_recipe, recipe_inside
from unmask.checkpoint.foreign import load_foreign
from unmask.checkpoint.lock import lock_run
from unmask.checkpoint.model import Model, check_fit, load_model, load_weights, save_model
from unmask.checkpoint.snapshots import Snapshot, load_snapshot, remove_leftovers, save_snapshot

__all__ = [
    "Model",
    "Snapshot",
    "check_fit",
    "code_fields",
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
