"""Object tables: size, shape, neighbors and intensities of every object of a label image.

Everything is a sum, a minimum or a maximum over voxels or over small neighborhoods, so a volume is
measured block by block and an object that spans several blocks gets the same numbers as in one
piece. Any number of axes; see `unmask.measurement.columns` for the definition of every column.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
