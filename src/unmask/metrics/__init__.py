"""Metrics by name, and as pure functions ``(truth, predicted) -> number``.

A name is that of `METRICS`, with a threshold or tolerance after ``@`` (``f1@0.5``, ``ap@0.75``,
``nsd@2``) or a class after ``/`` (``dice/3``). A metric of your own is a function ``(truth,
predicted)`` to a number or a dictionary of numbers, named ``path/to/file.py:Name`` or registered as
an entry point of the group ``unmask.metrics``; see `unmask.metrics.own`.
"""

import lazy_loader

from unmask.renamed import load_former_names

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = load_former_names(_load, summarise="summarize")
