"""Contracts that parts must keep, as pytest classes; subclass one and name your part.

    from unmask.testing import TaskContract

    class TestRidges(TaskContract):
        part = "ridges.py:Ridges"

Each contract says in its docstring what it checks and which further attributes it has. The same
classes test the parts that come with unmask.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
