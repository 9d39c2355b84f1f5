"""By which ending the names of label files differ from those of their images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

# "_label", "-mask", ".seg2": begins with a sign and says something. "_2" may number another image.
_SUFFIX = re.compile(r"[^0-9A-Za-z].*[A-Za-z]")


def common_suffix(names: Collection[str], others: Collection[str]) -> str | None:
    """The ending without which most ``names`` or ``others`` have a partner; None: there is none.

    Args:
        names: stems that may carry a suffix.
        others: stems that do not.

    Examples:
        >>> common_suffix(["a_label", "b_label"], ["a", "b", "c"])
        '_label'
    """
    known = set(others)
    counts = Counter(
        name[place:]
        for name in names
        for place in range(1, len(name))
        if name[:place] in known and _SUFFIX.match(name[place:])
    )
    if not counts:
        return None
    # Of equally frequent ones the shortest: "a_b_label" belongs to "a_b" rather than to "a".
    suffix, count = min(counts.items(), key=lambda item: (-item[1], len(item[0])))
    return suffix if 2 * count > min(len(names), len(known)) else None
