"""Child process that decodes one uploaded image: limited in memory and time.

``python -m unmask.serve.decode SOURCE RESULT MEMORY_BYTES SECONDS`` reads whatever the bytes are
and writes them again as TIFF. What cannot be decoded is refused, whatever its name says. With the
name and shape of an image after it, the file holds labels or outlines of that image.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from unmask.errors import DataError, UnmaskError, message
from unmask.plain_text import printable


def main(source: str, result: str, memory: int, seconds: int, *labels_of: str) -> int:
    """Write ``source`` to ``result``; the exit code is 2 for a file that is not an image."""
    _limit(memory, seconds)
    try:
        if labels_of:
            _write_labels(source, Path(result), *labels_of)
        else:
            _write_image(source, Path(result))
    except UnmaskError as error:
        sys.stderr.write(printable(error))
        return 2
    except MemoryError:
        sys.stderr.write("The image needs more memory than uploads may take.")
        return 2
    return 0


def _write_image(source: str, result: Path) -> None:
    from unmask.io import open_image, save_image

    image = open_image(source)
    save_image(result, image.read(), like=image)


def _write_labels(source: str, result: Path, name: str, shape: str) -> None:
    from unmask.io import Image, open_labels, save_image
    from unmask.io.outlines import is_outlines, read_outlines

    size = tuple(map(int, shape.split(",")))
    if is_outlines(source):
        # What is doubtful of the outlines goes to the page.
        labels = read_outlines(source, size, image=name, say=_say)
    else:
        labels = open_labels(source, ndim=len(size)).read()[0]
    if labels.shape != size:
        raise DataError(
            message("labels", expected=f"the size of the image, {size}", found=f"{labels.shape}",
                    do="Choose the file that belongs to this image.")
        )  # fmt: skip
    axes = "zyx"[-len(size) :]
    save_image(result, labels, like=Image.from_array(labels, axes=axes, name=name))


def _say(note: str) -> None:
    sys.stdout.write(f"{printable(note)}\n")


def _limit(memory: int, seconds: int) -> None:
    """Limit this process where the system can (not on Windows)."""
    with suppress(ImportError, OSError, ValueError):
        resource: Any = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:]))
