"""Files of images in, files of images out; always ``(C, *space)``, read lazily."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
