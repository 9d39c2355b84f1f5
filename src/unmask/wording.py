"""Numbers with their nouns, as messages write them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite


def format_count(count: int, singular: str, plural: str | None = None) -> str:
    """A number with a noun in its singular or plural.

    Args:
        count: the number.
        singular: the noun, which may be followed by a verb.
        plural: the same for more than one, and for 0; None: with an "s" at the end.

    Examples:
        >>> format_count(1, "image"), format_count(1200, "image")
        ('1 image', '1,200 images')
        >>> format_count(1, "class", "classes"), format_count(0, "class", "classes")
        ('1 class', '0 classes')
    """
    noun = singular if count == 1 else f"{singular}s" if plural is None else plural
    return f"{count:,} {noun}"


def join_names(names: Sequence[str]) -> str:
    """Names as a part of a sentence.

    Examples:
        >>> join_names(["a"]), join_names(["a", "b"]), join_names(["a", "b", "c"])
        ('a', 'a and b', 'a, b and c')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


_SINGULAR = {"have": "has", "are": "is", "were": "was"}


def format_part(part: int, total: int, singular: str, verb: str) -> str:
    """A number of things out of all, with a verb that follows the first number.

    Args:
        part: how many of them.
        total: how many there are.
        singular: the noun.
        verb: in its plural.

    Examples:
        >>> format_part(1, 4, "image", "have"), format_part(2, 4, "label image", "are")
        ('1 of 4 images has', '2 of 4 label images are')
    """
    return f"{part:,} of {format_count(total, singular)} {_SINGULAR[verb] if part == 1 else verb}"


def format_number(value: float) -> str:
    """A number with four digits, or as many as keep it from looking like a whole number.

    Examples:
        >>> format_number(0.30000001192092896), format_number(0.9999999), format_number(3.0)
        ('0.3', '0.9999999', '3')
    """
    texts = (f"{value:.{digits}g}" for digits in range(4, 18))
    whole = value == round(value) if isfinite(value) else True
    return next((text for text in texts if whole or float(text) != round(value)), repr(value))
