"""The verbs, one file for each pair of inputs and outputs; all take paths or arrays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
