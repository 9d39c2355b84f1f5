"""Write the address of the public repository into every file that names it.

Run it once the repository has a public home, and again if it moves; Python alone is needed:

    python packaging/home.py https://github.com/lab/unmask

Until then the project names no address, because an address that nobody answers helps nobody.
``packaging/check.py --release`` refuses a wheel without it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Paths below the address, as GitHub and GitLab's redirects have them.
PAGES = {
    "Homepage": "",
    "Documentation": "/tree/main/docs",
    "Repository": "",
    "Changelog": "/blob/main/CHANGELOG.md",
    "Issues": "/issues",
}


def main(arguments: list[str] | None = None) -> int:
    """Change the files, and print their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="https://HOST/ACCOUNT/NAME")
    url = parser.parse_args(arguments).url.removesuffix("/").removesuffix(".git")
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+){2,}", url):
        print(f"{url}: expected https://HOST/ACCOUNT/NAME", file=sys.stderr)
        return 2
    for path in write_home(ROOT, url):
        print(path.relative_to(ROOT))
    return 0


def write_home(root: Path, url: str) -> list[Path]:
    """Write an address in place of the last one, if there is one; the changed files."""
    lines = "\n".join(f'{name} = "{url}{path}"' for name, path in PAGES.items())
    changes = (
        ("pyproject.toml", "[project.scripts]\n", f"[project.urls]\n{lines}\n\n"),
        ("packaging/conda/recipe.yaml", "  license: ", f"  homepage: {url}\n  repository: {url}\n"),
        ("CITATION.cff", "license: ", f"repository-code: {url}\n"),
    )
    for name, before, text in changes:
        path = root / name
        kept = without_home(path.read_text(encoding="utf-8"))
        path.write_text(kept.replace(before, text + before, 1), encoding="utf-8")
    return [root / name for name, *_ in changes]


def without_home(text: str) -> str:
    """The text without the lines that `write_home` adds."""
    text = re.sub(r"^\[project\.urls\]\n(?:\w+ = .*\n)+\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^ *(?:homepage|repository|repository-code): .*\n", "", text, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
