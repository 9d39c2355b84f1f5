"""From a recipe to objects: every part that a recipe names is built here, once per run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
