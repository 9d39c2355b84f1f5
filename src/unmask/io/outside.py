"""Files that lead to other files: refused unless the user allows it.

A file of a kilobyte can name any file on disk as the place of its pixels. Reading an image from an
unknown source must not return the bytes of other files, so external storage, external links,
virtual data sets and symbolic links out of a store need the option ``allow_external``.
"""

from __future__ import annotations

from pathlib import Path

from unmask.errors import DataError, message
from unmask.io.contract import Location

_OPTION = (
    "If you trust the source of this file, allow it with --set data.allow_external=true "
    "(allow_external=True)."
)


def refuse_outside(location: Location, found: str) -> None:
    """Refuse data in another file.

    Args:
        location: the image; nothing happens if it allows other files.
        found: what leads where.

    Raises:
        DataError: names the other file and the option.
    """
    if not location.allow_external:
        raise DataError(
            message(
                location.source,
                expected="an image that reads no other files",
                found=found,
                do=_OPTION,
            )
        )


def check_inside(location: Location, path: Path) -> None:
    """Refuse a file of a store that is reached through ``..`` or links out of the store.

    Raises:
        DataError: names the file that it leads to.
    """
    if location.allow_external:
        return
    if not isinstance(path, Path):
        # At an address and in a ZIP file there are no links, and keys cannot leave the store.
        return
    target, root = path.resolve(), location.path.resolve()
    if target != root and root not in target.parents:
        refuse_outside(location, f"{path.name} in {target}, outside of the store")
