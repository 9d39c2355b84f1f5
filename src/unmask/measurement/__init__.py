"""Object tables: size, shape, neighbors and intensities of every object of a label image.

Everything is a sum, a minimum or a maximum over voxels or over small neighborhoods, so a volume is
measured block by block and an object that spans several blocks gets the same numbers as in one
piece. Any number of axes; see `unmask.measurement.columns` for the definition of every column.
"""

from unmask.measurement.table import Table, concatenate
from unmask.measurement.volume import measure_image

__all__ = ["Table", "concatenate", "measure_image"]
