"""Everybody can read the page: contrast of WCAG AA in both themes, and room on small screens."""

from __future__ import annotations

import re

import pytest

from unmask.serve.app import PAGE

STYLE = (PAGE / "style.css").read_text()
COLORS = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", STYLE))


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "behind", "least"),
    [
        ("text", "back", 4.5),
        ("text", "panel", 4.5),
        ("quiet", "back", 4.5),
        ("quiet", "panel", 4.5),
        ("on-strong", "strong", 4.5),
        ("on-bad", "bad", 4.5),
        ("edge", "panel", 3),
        ("edge", "back", 3),
        ("strong", "stage", 3),
        ("strong", "panel", 3),
        ("strong", "back", 3),
    ],
)
def test_contrast(front, behind, least, theme):
    colors = [COLORS[name].split(", ")[theme] for name in (front, behind)]
    assert contrast(*colors) >= least


def test_every_text_is_in_one_file():
    """Nothing between tags, and no sentence in the programs."""
    html = re.sub(r"<title>.*?</title>", "", (PAGE / "index.html").read_text())
    assert [found for found in re.findall(r">([^<>]+)<", html) if found.strip()] == []
    for path in PAGE.glob("*.js"):
        if path.name != "texts.js":
            code = re.sub(r"//.*|/\*.*?\*/", "", path.read_text())
            assert re.findall(r"[\"'`][A-Z][a-z]+ [a-z]+ [^\"'`]*[\"'`]", code) == []


def test_every_text_that_is_asked_for_exists():
    texts = set(re.findall(r"^  (\w+):", (PAGE / "texts.js").read_text(), re.MULTILINE))
    html = (PAGE / "index.html").read_text()
    wanted = set(re.findall(r"data-(?:text|label|title|hint)=\"(\w+)\"", html))
    for path in PAGE.glob("*.js"):
        wanted |= set(re.findall(r"\btext\(\"(\w+)\"", path.read_text()))
    assert wanted - texts == set()
