"""Child process that decodes one uploaded image: limited in memory and time.

``python -m unmask.serve.decode SOURCE RESULT MEMORY_BYTES SECONDS`` reads whatever the bytes are
and writes them again as TIFF. What cannot be decoded is refused, whatever its name says.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from unmask.errors import UnmaskError
from unmask.plain_text import printable


def main(source: str, result: str, memory: int, seconds: int) -> int:
    """Write ``source`` to ``result``; the exit code is 2 for a file that is not an image."""
    _limit(memory, seconds)
    from unmask.io import open_image, save_image

    try:
        image = open_image(source)
        save_image(Path(result), image.read(), like=image)
    except UnmaskError as error:
        sys.stderr.write(printable(error))
        return 2
    except MemoryError:
        sys.stderr.write("The image needs more memory than uploads may take.")
        return 2
    return 0


def _limit(memory: int, seconds: int) -> None:
    """Limit this process where the system can (not on Windows)."""
    with suppress(ImportError, OSError, ValueError):
        resource: Any = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
