from .families import FAMILIES, draw, draw_one, family, write_phantoms
from .phantom import Family, Phantom

__all__ = [
    "FAMILIES",
    "Family",
    "Phantom",
    "draw",
    "draw_one",
    "family",
    "write_phantoms",
]
