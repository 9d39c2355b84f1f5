"""Synthetic images with exact truth, in any number of axes: what is not photographed is drawn.

``draw`` and ``write_phantoms`` are the way in; ``FAMILIES`` lists the kinds of image. One file per
family; `unmask.phantoms.phantom` says what a family is.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
