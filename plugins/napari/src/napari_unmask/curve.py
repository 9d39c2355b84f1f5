"""A curve that grows while a training runs: loss, and the score of the validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_LOSS, _SCORE = QColor("#5aa9e6"), QColor("#ffb000")
_MARGIN, _HEIGHT = 22.0, 130
_VALIDATION = "validation/"


class Curve(QWidget):
    """Loss (left scale, from 0) and the first score of the validation (0 to 1) over updates."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.losses: list[tuple[float, float]] = []
        self.scores: list[tuple[float, float]] = []
        self.score_name = ""

    def show_records(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Show the lines of a journal."""
        self.losses = _series(records, "loss")
        names = [name for each in records for name in each if name.startswith(_VALIDATION)]
        self.score_name = names[0] if names else ""
        self.scores = _series(records, self.score_name)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        """Draw both curves with their last values."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        painter.setPen(QPen(self.palette().mid().color()))
        painter.drawRect(area)
        last = max((step for step, _ in (*self.losses, *self.scores)), default=1.0)
        top = max((value for _, value in self.losses), default=1.0) or 1.0
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        _draw(painter, area, self.losses, _LOSS, (last, top))
        _write(painter, self.rect(), left, _LOSS, "loss", self.losses)
        _draw(painter, area, self.scores, _SCORE, (last, 1.0))
        name = self.score_name.removeprefix(_VALIDATION)
        _write(painter, self.rect(), right, _SCORE, name, self.scores)
        painter.setPen(self.palette().text().color())
        if self.losses:
            bottom = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignHCenter
            painter.drawText(self.rect(), bottom, f"{last:.0f} updates")
        painter.end()


def _series(records: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [
        (float(each["step"]), float(each[name]))
        for each in records
        if each.get(name) is not None and math.isfinite(each[name])
    ]


def _draw(
    painter: QPainter,
    area: QRectF,
    points: Sequence[tuple[float, float]],
    color: QColor,
    largest: tuple[float, float],
) -> None:
    painter.setPen(QPen(color, 2))
    places = [
        QPointF(
            area.left() + area.width() * step / largest[0],
            area.bottom() - area.height() * min(1.0, max(0.0, value / largest[1])),
        )
        for step, value in points
    ]
    painter.drawPolyline(QPolygonF(places))
    for place in places[-1:]:
        painter.drawEllipse(place, 3, 3)


def _write(
    painter: QPainter,
    area: Any,
    side: Qt.AlignmentFlag,
    color: QColor,
    name: str,
    points: Sequence[tuple[float, float]],
) -> None:
    if points:
        painter.setPen(color)
        text = f" {name} {points[-1][1]:.3g} "
        painter.drawText(area, side | Qt.AlignmentFlag.AlignTop, text)
