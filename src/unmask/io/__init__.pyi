from .added import use_formats
from .contract import Content, Format, Location, Stored
from .formats import FORMATS
from .image import Image
from .paths import list_files, stem
from .reading import open_image, open_labels
from .writing import output_name, save_image, save_labels, smallest_uint

__all__ = [
    "FORMATS",
    "Content",
    "Format",
    "Image",
    "Location",
    "Stored",
    "list_files",
    "open_image",
    "open_labels",
    "output_name",
    "save_image",
    "save_labels",
    "smallest_uint",
    "stem",
    "use_formats",
]
