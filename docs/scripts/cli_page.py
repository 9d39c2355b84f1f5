"""Write docs/reference/cli.md from the help pages of the command line.

    python docs/scripts/cli_page.py

A test compares the page with what this script makes of the code.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import typer

from unmask.cli import app

PAGE = Path(__file__).resolve().parents[1] / "reference" / "cli.md"

_HEAD = """# Command line

`unmask VERB --help` prints the same as this page.

## Paths and models

- `IMAGES` and `PATH` are a file, a folder, a glob pattern, an OME-Zarr, a DICOM series, a `dataset.json`
  that names its labels ([Medical volumes](../howto/medical.md)), or several of them. `--images PATH` is
  another way to give `IMAGES`. For classes of whole images, labels, truth and predictions are tables
  (.csv).
- `MODEL` is a model file, a run folder (its best model), or the name of a shipped model.
- Images and labels pair by file name without the ending. One folder that holds both is divided by
  suffixes such as `_masks` ([Train on your own cells](../howto/train-your-cells.md)). A file never
  pairs with itself.
- `--set a.b=c` changes one field of the [recipe](recipe.md). An unknown field names the nearest one.
- `train` and `pretrain` refuse an `--out` inside a folder of images or labels. `predict` never replaces
  a file that it was given, nor anything in a folder of images.

## Output

With `--json` every line of standard output is one JSON object, for workflow engines; notes go to
standard error. `-q` prints results and errors only, `-v` adds versions, times and where errors come from.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a defect of unmask |
| 2 | the request or the data is wrong, or the disk fails; the message says what was expected, what was found and what to do |
| 130, 143 | interrupted (Ctrl-C), terminated (SIGTERM, SIGUSR1); finished work is kept for `--resume` |
"""


def page() -> str:
    """Make the page."""
    names = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    parts = [f"\n## unmask {name}\n\n```text\n{_help(name)}```\n" for name in names]
    return _HEAD + "".join(parts)


def _help(verb: str) -> str:
    before, out = os.environ.get("COLUMNS"), io.StringIO()
    os.environ["COLUMNS"] = "96"
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            app([verb, "--help"], prog_name="unmask")
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return out.getvalue()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
