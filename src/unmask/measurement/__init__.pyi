from .table import Table, concatenate
from .volume import Scale, measure_image

__all__ = ["Scale", "Table", "concatenate", "measure_image"]
