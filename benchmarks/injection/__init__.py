"""Parts of ``benchmarks/faults.py``: each injects one kind of fault and counts what came of it."""
