"""Training: one loop for pre-training and fine-tuning, its schedule, journal and devices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
