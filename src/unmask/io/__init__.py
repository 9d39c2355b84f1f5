"""Files of images in, files of images out; always ``(C, *space)``, read lazily."""

from unmask.io.formats import FORMATS
from unmask.io.image import Image
from unmask.io.paths import list_files, stem
from unmask.io.reading import open_image, open_labels
from unmask.io.writing import output_name, save_image, smallest_uint

__all__ = [
    "FORMATS",
    "Image",
    "list_files",
    "open_image",
    "open_labels",
    "output_name",
    "save_image",
    "smallest_uint",
    "stem",
]
