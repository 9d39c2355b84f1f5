"""Images to masks with as few labels as possible, in 2D and 3D.

The names below are loaded when they are first used, so that ``import unmask`` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
