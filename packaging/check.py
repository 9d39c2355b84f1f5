"""Check a wheel and a source distribution: metadata, content, size. Needs Python alone.

Run: python packaging/check.py DIST [--release]
"""

from __future__ import annotations

import argparse
import email
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from email.message import Message
from pathlib import Path

MAX_WHEEL_MB = 30
# One file of each kind that is not Python: a wheel without it installs, and fails later.
NEEDED = {
    "unmask/py.typed": "types",
    "unmask/__init__.pyi": "lazy imports",
    "unmask/presets/cells.yaml": "presets",
    "unmask/shipped/nuclei.safetensors": "models",
    "unmask/serve/page/index.html": "the page of `unmask serve`",
    "unmask/phantoms/likeness/reference2.npz": "reference statistics of phantoms",
}
URLS = {"Homepage", "Documentation", "Repository", "Changelog", "Issues"}


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong, or the sizes; the exit code is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path, help="folder with one wheel and one sdist")
    parser.add_argument("--release", action="store_true", help="also require project URLs")
    options = parser.parse_args(arguments)
    wheels, sdists = sorted(options.dist.glob("*.whl")), sorted(options.dist.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        found = ", ".join(path.name for path in [*wheels, *sdists]) or "nothing"
        print(f"{options.dist}: expected one wheel and one sdist, found {found}.", file=sys.stderr)
        return 1
    problems = [*check_wheel(wheels[0], release=options.release), *check_sdist(sdists[0])]
    for problem in problems:
        print(problem, file=sys.stderr)
    for path in (*wheels, *sdists):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return int(bool(problems))


def check_wheel(path: Path, *, release: bool = False) -> list[str]:
    """What is wrong with a wheel, one line per problem."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata[0]).decode() if metadata else ""
        points = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
        script = b"unmask = unmask.cli:main" in (archive.read(points[0]) if points else b"")
    problems = [] if script else [f"{path.name}: no entry point `unmask`"]
    problems += [f"{path.name}: {name} is missing ({why})" for name, why in missing(names)]
    problems += [f"{path.name}: {name} does not belong there" for name in strangers(names)]
    problems += [
        f"{path.name}: {each}" for each in metadata_problems(email.message_from_string(text))
    ]
    if release:
        problems += [f"{path.name}: {each}" for each in missing_urls(text)]
    if (size := path.stat().st_size / 1e6) > MAX_WHEEL_MB:
        problems.append(f"{path.name}: expected at most {MAX_WHEEL_MB} MB, found {size:.1f}")
    return problems


def check_sdist(path: Path) -> list[str]:
    """What is wrong with a source distribution, one line per problem."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "constraints.txt", "CITATION.cff"}
    needed |= {f"src/{name}" for name in NEEDED}
    return [f"{path.name}: {name} is missing" for name in sorted(needed - names)]


def missing(names: set[str]) -> list[tuple[str, str]]:
    """Needed files that a wheel lacks, with their purpose."""
    return [(name, why) for name, why in NEEDED.items() if name not in names]


def strangers(names: Iterable[str]) -> list[str]:
    """Files of a wheel outside the package and its metadata, and compiled leftovers."""
    return sorted(
        name
        for name in names
        if (not name.startswith("unmask/") and ".dist-info/" not in name) or name.endswith(".pyc")
    )


def metadata_problems(metadata: Message) -> list[str]:
    """What is wrong with the metadata of a wheel."""
    fields = ("Name", "Version", "Summary", "Requires-Python", "License-Expression")
    problems = [f"the field {name} is missing" for name in fields if not metadata[name]]
    if not metadata.get_payload():
        problems.append("there is no long description")
    return problems


def missing_urls(text: str) -> list[str]:
    """URLs that the metadata of a release lacks."""
    values = email.message_from_string(text).get_all("Project-URL", [])
    names = sorted(URLS - {value.partition(",")[0] for value in values})
    return [f"the URL {name} is missing: python packaging/home.py URL" for name in names]


if __name__ == "__main__":
    sys.exit(main())
