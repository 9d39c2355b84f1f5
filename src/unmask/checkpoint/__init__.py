"""Model files, snapshots of runs, the lock of a run folder, and foreign weights.

Everything is safetensors and JSON, written to a temporary file and renamed, and verified on load.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
