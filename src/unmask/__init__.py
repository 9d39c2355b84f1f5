"""Images to masks with as few labels as possible, in 2D and 3D.

The names below are loaded when they are first used, so that ``import unmask`` costs nothing.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    # Reading the metadata of a distribution takes longer than the rest of this file.
    if name == "__version__":
        from unmask.metrics.report import installed_version

        return installed_version()
    return _load(name)
