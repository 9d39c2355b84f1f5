"""HTML page of a prediction: facts about the labels of each image, suspicious images first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from unmask.reports.overlay import Rgb, jpeg
from unmask.reports.page import Figure, Figures, Page, Table, values
from unmask.reports.suspicious import find_suspicious

# Pictures of a page.
_PICTURES = 24


def prediction_page(
    names: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    draw: Callable[[int], Rgb | None],
    *,
    settings: Mapping[str, Any],
    version: str,
    unit: str = "voxels",
) -> str:
    """HTML of a prediction; one file that needs nothing else.

    Args:
        names: of the images.
        results: what was found in each, see `find_suspicious`.
        draw: picture of the image with a number; None: it is too large.
        settings: behind the prediction.
        version: of the program.
        unit: of the sizes of objects.
    """
    remarks = find_suspicious(results)
    order = sorted(range(len(names)), key=lambda number: (not remarks[number], number))
    rows = [{"image": names[n], **_row(results[n], unit), "remark": remarks[n]} for n in order]
    pictures = {number: draw(number) for number in order[:_PICTURES]}
    figures = [
        Figure(names[number], jpeg(picture), _caption(results[number], unit))
        for number, picture in pictures.items()
        if picture is not None
    ]
    sections = [
        Table("Summary", [_total(results, remarks, unit)]),
        Figures("Pictures", figures),
        Table("Images", rows, note="Suspicious first. Click a heading to sort.", sortable=True),
        values("Settings", settings),
    ]
    return Page("Prediction", sections, version).to_html()


def _row(result: Mapping[str, Any], unit: str) -> dict[str, Any]:
    counts = {name: name for name in ("objects", "tracks", "classes")}
    sizes = {"median_size": "median size", "smallest": "smallest", "largest": "largest"}
    shown = counts | {name: f"{title} [{unit}]" for name, title in sizes.items()}
    found = {title: result[name] for name, title in shown.items() if name in result}
    if "foreground" in result:
        found["foreground %"] = 100 * result["foreground"]
    return found


def _caption(result: Mapping[str, Any], unit: str) -> str:
    return ", ".join(f"{value:g} {name}" for name, value in list(_row(result, unit).items())[:1])


def _total(
    results: Sequence[Mapping[str, Any]], remarks: Sequence[str], unit: str
) -> dict[str, Any]:
    total: dict[str, Any] = {"images": len(results), "suspicious": sum(map(bool, remarks))}
    if any("objects" in each for each in results):
        counts = [each.get("objects", 0) for each in results]
        sizes = [each["median_size"] for each in results if "median_size" in each]
        total |= {"objects": sum(counts), "objects per image (median)": float(np.median(counts))}
        total[f"median size [{unit}]"] = float(np.median(sizes)) if sizes else None
    return total
