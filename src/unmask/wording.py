"""Numbers with their nouns, as messages write them."""

from __future__ import annotations


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
