"""The page of an evaluation of whole images: confusion matrix, classes, and wrong images first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from unmask.metrics import Report
from unmask.reports.page import Figure, Figures, Page, Section, Table, notes, values

# Pictures of a page; of 200 images they take about 8 MB.
PICTURES = 200


def classes_page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """HTML of an evaluation of tables of classes; one file that needs nothing else.

    Args:
        report: of `unmask.api.classes.evaluate_classes`.
        pictures: JPEG files by name of the image; may lack some or all.
    """
    names = [str(name) for name in report.settings["classes"]]
    counts = Counter((str(row["truth"]), str(row["predicted"])) for row in report.images)
    rows = wrong_first(report)
    figures = [
        Figure(str(row["name"]), pictures[str(row["name"])], describe_answer(row))
        for row in rows
        if str(row["name"]) in pictures
    ]
    wrong = sum(map(_is_wrong, rows))
    origin = {name: value for name, value in report.settings.items() if name != "notes"}
    sections: list[Section] = [
        Table("Summary", [{"metric": name, **entry} for name, entry in report.summary.items()]),
        notes([str(note) for note in report.settings.get("notes", ())]),
        Table(
            "Confusion matrix",
            [
                {"true class": true}
                | {f"predicted {other}": counts[true, other] for other in names}
                for true in names
            ],
            "Number of images. A row per true class, a column per predicted one.",
        ),
        Table("Classes", [_class_row(name, counts) for name in names]),
        Figures("Pictures", figures, note="Wrong images first; of a volume its middle plane."),
        Table(
            "Images",
            [{**row, "answer": "wrong" if _is_wrong(row) else "right"} for row in rows],
            f"{wrong} of {len(rows)} are wrong. Wrong images first, the most certain of them on "
            "top. Click a heading to sort.",
            sortable=True,
        ),
        values("What was compared", origin),
    ]
    return Page("Evaluation", sections, report.version).to_html()


def wrong_first(report: Report) -> list[Mapping[str, Any]]:
    """Rows of the images: wrong ones first, by ascending probability of the true class."""
    return sorted(
        report.images, key=lambda row: (not _is_wrong(row), float(row.get("probability", 0)))
    )


def describe_answer(row: Mapping[str, Any]) -> str:
    """What an image was taken for, as a caption."""
    if not _is_wrong(row):
        return f"{row['truth']}, right"
    return f"{row['truth']}, predicted {row['predicted']}"


def _is_wrong(row: Mapping[str, Any]) -> bool:
    return row["truth"] != row["predicted"]


def _class_row(name: str, counts: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Numbers of one class; a ratio of nothing is undefined."""
    true = sum(n for (here, _), n in counts.items() if here == name)
    other = sum(n for (_, there), n in counts.items() if there == name)
    both = counts[name, name]
    return {
        "class": name,
        "images": true,
        "predicted": other,
        "recall": _ratio(both, true),
        "precision": _ratio(both, other),
        "F1": _ratio(2 * both, true + other),
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
