"""Measure the objects of a labels layer; the table becomes the features of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
)

from napari_unmask.forms import LayerBox, LayersList, Panel
from napari_unmask.layers import labels_image, read_labels, read_source
from napari_unmask.navigation import jump
from napari_unmask.tables import features_of, join
from napari_unmask.work import Report
from unmask import api
from unmask.errors import DataError, message
from unmask.io import Image
from unmask.measurement import Table

# Rows that are shown; the features and the saved table have all.
_SHOWN = 2000
_ID = "id"


def measure(labels: Image, image: Image | None, report: Report) -> Table:
    """Measure in this thread."""
    return api.measure(labels, images=image, say=report.say)


class Measure(Panel):
    """The form of ``unmask.measure``."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, action="Measure")
        self.labels = LayerBox(napari_viewer, LabelsLayer)
        self.images = LayersList(napari_viewer, ImageLayer)
        self.images.setToolTip("Intensities are measured in these; several layers are channels.")
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setMinimumHeight(160)
        self.path, self.save_button = QLineEdit("objects.csv"), QPushButton("Save table")
        self.result: Table | None = None
        self._layer: LabelsLayer | None = None
        self.form.addRow("Labels", self.labels)
        self.form.addRow("Images", self.images)
        at = self.body.indexOf(self.bar)
        self.body.insertWidget(at, self.table)
        line = QHBoxLayout()
        line.addWidget(self.path, 1)
        line.addWidget(self.save_button)
        self.body.insertLayout(at + 1, line)
        self.table.itemClicked.connect(self._jump)
        self.save_button.clicked.connect(lambda: self.attempt(self._save))

    def start(self) -> None:
        """Measure what the form says."""
        self.attempt(self._start)

    def _start(self) -> None:
        layer = self.labels.require("Measure")
        source = read_source(self.images.layers or [layer])
        labels = labels_image(read_labels(layer, source))
        image = source.as_image() if self.images.layers else None
        self.begin(partial(measure, labels, image), partial(self._show, layer))

    def _show(self, layer: LabelsLayer, table: Table) -> None:
        self.result, self._layer = table, layer
        if len(table):
            join(layer, features_of(table))
        names = [_ID, *(name for name in table if name not in ("image", _ID))]
        self.table.setSortingEnabled(False)
        self.table.setRowCount(min(len(table), _SHOWN))
        self.table.setColumnCount(len(names))
        self.table.setHorizontalHeaderLabels(names)
        for column, name in enumerate(names):
            for row, value in enumerate(table[name][:_SHOWN].tolist()):
                item = QTableWidgetItem()
                shown = float(f"{value:.5g}") if isinstance(value, float) else value
                item.setData(Qt.ItemDataRole.DisplayRole, shown)
                self.table.setItem(row, column, item)
        self.table.setSortingEnabled(True)
        objects = f"{len(table)} object{'' if len(table) == 1 else 's'}"
        self.say(f"{objects}; the table is in the features of {layer.name}.")

    def _jump(self, item: QTableWidgetItem) -> None:
        """Show the object of a row."""
        table, layer = self.result, self._layer
        header = [self.table.horizontalHeaderItem(n) for n in range(self.table.columnCount())]
        names = [each.text() if each is not None else "" for each in header]
        cell = self.table.item(item.row(), names.index(_ID))
        if table is None or layer is None or cell is None:
            return
        label = int(cell.data(Qt.ItemDataRole.DisplayRole))
        row = int(np.flatnonzero(np.asarray(table[_ID]) == label)[0])
        jump(self.viewer, layer, center_of(table, row, layer.ndim), label)

    def _save(self) -> None:
        if self.result is None:
            raise DataError(
                message("Measure", expected="a table", found="none", do="Press Measure first.")
            )
        path = Path(self.path.text().strip()).expanduser()
        if path.exists():
            raise DataError(
                message(path, expected="a new file", found="another", do="Choose another name.")
            )
        self.result.write(path)
        self.say(f"Saved: {path}")


def center_of(table: Any, row: int, ndim: int) -> Sequence[float]:
    """The centroid of an object in voxels."""
    return [float(table[f"centroid_{axis}"][row]) for axis in "zyx"[-ndim:]]
