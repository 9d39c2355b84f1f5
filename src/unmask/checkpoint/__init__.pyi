from .foreign import load_foreign
from .lock import lock_run
from .model import Model, load_model, load_weights, save_model
from .snapshots import Snapshot, load_snapshot, remove_leftovers, save_snapshot

__all__ = [
    "Model",
    "Snapshot",
    "load_foreign",
    "load_model",
    "load_snapshot",
    "load_weights",
    "lock_run",
    "remove_leftovers",
    "save_model",
    "save_snapshot",
]
