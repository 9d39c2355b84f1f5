"""One note on dropped foreground for all images of a run, in place of one per image.

Nearly every image loses a few voxels, for example specks below the smallest object. Lines on each
of them hide the images that lose much.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unmask.api.values import Say
from unmask.infer.notes import DroppedNote

# Share of the foreground from which an image is named, and number of images that are named.
_MUCH, _NAMED = 0.05, 10


@contextmanager
def group_dropped(say: Say, images: int) -> Generator[Say, None, None]:
    """Give a function for notes that reports those on dropped foreground together, at the end.

    Args:
        say: receives the notes.
        images: number of images; the notes of a single image are reported as they are.
    """
    dropped: dict[str, DroppedNote] = {}

    def note(text: str) -> None:
        if isinstance(text, DroppedNote) and images > 1:
            dropped[text.source] = max(text, dropped.get(text.source, text), key=_share_of)
        else:
            say(text)

    yield note
    for line in describe_dropped(list(dropped.values()), images):
        say(line)


def describe_dropped(notes: Sequence[DroppedNote], images: int) -> list[str]:
    """Notes on the images that lost much of their foreground, worst first, and on the worst one.

    Examples:
        >>> lost = DroppedNote.of("x/a.tif: foreground of 4 pixels dropped.", 0.4, "x/a.tif")
        >>> describe_dropped([lost], images=3)[0]
        'note: in 1 of 3 images more than 5 % of the foreground was dropped: a.tif (40 %)'
    """
    much = sorted((note for note in notes if note.share > _MUCH), key=_share_of, reverse=True)
    if not much:
        return []
    named = ", ".join(
        f"{Path(note.source).name} ({100 * note.share:.0f} %)" for note in much[:_NAMED]
    )
    more = f" and {len(much) - _NAMED} more" if len(much) > _NAMED else ""
    return [
        f"note: in {len(much)} of {images} images more than {100 * _MUCH:.0f} % of the foreground "
        f"was dropped: {named}{more}",
        str(much[0]),
    ]


def _share_of(note: DroppedNote) -> float:
    return note.share
