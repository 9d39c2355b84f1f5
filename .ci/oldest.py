"""Print constraints for pip that pin every dependency to the oldest version that is allowed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
for line in project["dependencies"]:
    found = re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)", line)
    if found is None:
        raise SystemExit(f"pyproject.toml: expected a lower bound, found {line!r}. Give one.")
    # ~= takes the bug fixes of the oldest minor version along.
    version = found[2] if found[2].count(".") > 1 else f"{found[2]}.0"
    print(f"{found[1]}~={version}")
