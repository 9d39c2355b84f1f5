"""The page of a prediction: what is suspicious, and pictures of it first."""

from __future__ import annotations

import numpy as np

from unmask.reports.prediction import prediction_page
from unmask.reports.suspicious import find_suspicious

USUAL = [{"objects": 20, "median_size": 100.0 + n, "foreground": 0.2} for n in range(5)]


def test_what_is_suspicious():
    odd = [
        {"objects": 0},
        {"objects": 200, "median_size": 100.0},
        {"objects": 3, "median_size": 100.0},
        {"objects": 20, "median_size": 900.0},
        {"classes": 0, "foreground": 0.0},
    ]
    assert find_suspicious([*USUAL, *odd]) == [
        *[""] * 5,
        "nothing found",
        "very many objects (usually 20)",
        "very few objects (usually 20)",
        "objects larger than usual",
        "nothing found",
    ]


def test_few_images_are_not_compared():
    assert find_suspicious([{"objects": 1, "median_size": 1.0}, USUAL[0]]) == ["", ""]


def test_the_page_shows_the_suspicious_image_first():
    drawn = []

    def draw(number):
        drawn.append(number)
        return None if number == 1 else np.zeros((8, 8, 3), np.uint8)

    results = [*USUAL, {"objects": 0, "foreground": 0.0}]
    page = prediction_page(
        [f"<{n}>" for n in range(6)], results, draw, settings={"tile": 3}, version="1"
    )
    assert drawn == [5, 0, 1, 2, 3, 4]
    assert page.count("<figure>") == 5
    assert page.index("&lt;5&gt;") < page.index("&lt;0&gt;")
    assert "nothing found" in page
    assert "median size [voxels]" in page
    assert "<h2>Settings</h2>" in page
