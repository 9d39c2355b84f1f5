"""Draw the layers of the package into docs/concepts.md, from the contract in pyproject.toml.

    python docs/scripts/layers_drawing.py

A test compares the drawing with the contract.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "concepts.md"
_START, _STOP = "<!-- layers -->", "<!-- /layers -->"


def layers() -> list[str]:
    """The layers of the contract from top to bottom, such as ``apps | datasets``."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    return [re.sub(r"\bunmask\.", "", layer) for layer in contract["layers"]]


def page() -> str:
    """The page with the drawing renewed."""
    text = PAGE.read_text(encoding="utf-8")
    lines = [
        line for layer in layers() for line in textwrap.wrap(layer, 92, subsequent_indent="  ")
    ]
    head, rest = text.split(_START)
    drawing = "\n".join(["```text", *lines, "```"])
    return f"{head}{_START}\n{drawing}\n{_STOP}{rest.split(_STOP)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
