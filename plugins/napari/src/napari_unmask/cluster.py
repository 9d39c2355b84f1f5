"""Cluster the voxels of a volume without labels, and name clusters by clicking on them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtWidgets import (
    QComboBox,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
)

from napari_unmask import saving
from napari_unmask.forms import LayersList, Panel
from napari_unmask.layers import Source, like_of, place, read_source
from napari_unmask.models import ModelBox, with_browser
from napari_unmask.navigation import voxel_under
from napari_unmask.work import Report
from unmask import api
from unmask.atomic import atomic_write
from unmask.errors import DataError, message
from unmask.io import open_labels, save_image, save_labels

QUALITIES = ("exact", "fast", "draft")
_COLUMNS = ("cluster", "share", "name")
_NAMES, _CLASSES = "names.yaml", "classes.tif"


@dataclass(frozen=True)
class Clusters:
    """Clusters of one volume.

    Attributes:
        labels: ``(*space)`` numbers of clusters, from 1.
        rows: statistics per cluster.
        folder: everything that was written.
    """

    labels: np.ndarray
    rows: list[dict[str, str]]
    folder: Path


def cluster(
    source: Source,
    model: str,
    out: Path,
    classes: int,
    quality: str,
    report: Report,
) -> Clusters:
    """Cluster in this thread; the volume is kept next to the result, to repeat the run."""
    volume = out / "volume" / f"{saving.plain_name(source.name)}.tif"
    save_image(volume, np.asarray(source.as_image().read()), like=source.as_image())
    done = api.cluster(
        model,
        volume,
        out=out / "clusters",
        classes=classes,
        # The folder is the plugin's own: the button replaces what it wrote before.
        options=api.ClusterOptions(quality=quality, overwrite=True),
        say=report.say,
        progress=report.progress,
    )
    with done.statistics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    labels = open_labels(done.labels[0], ndim=len(source.axes.strip("C"))).read()[0]
    return Clusters(labels, rows, out)


class Cluster(Panel):
    """The form of ``unmask.cluster``."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, action="Cluster")
        self.images = LayersList(napari_viewer, ImageLayer)
        self.model = ModelBox(first="choose a model with patch tokens")
        self.classes, self.quality = QSpinBox(), QComboBox()
        self.classes.setRange(2, 1000)
        self.classes.setValue(8)
        self.quality.addItems(QUALITIES)
        self.out = QLineEdit(str(_new_folder()))
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setMinimumHeight(140)
        self.name_button = QPushButton("Apply names")
        for title, widget in (
            ("Volume", self.images),
            ("Model", with_browser(self.model)),
            ("Clusters", self.classes),
            ("Quality", self.quality),
            ("Folder", self.out),
        ):
            self.form.addRow(title, widget)
        at = self.body.indexOf(self.bar)
        self.body.insertWidget(at, self.table)
        self.body.insertWidget(at + 1, self.name_button)
        self._layer: LabelsLayer | None = None
        self._clusters: Clusters | None = None
        self.name_button.clicked.connect(lambda: self.attempt(self._name))
        self.table.itemClicked.connect(self._select)
        callbacks, clicked = self.viewer.mouse_drag_callbacks, self._clicked
        callbacks.append(clicked)
        self.destroyed.connect(lambda: clicked in callbacks and callbacks.remove(clicked))

    def start(self) -> None:
        """Cluster what the form says."""
        self.attempt(self._start)

    def _start(self) -> None:
        model, out = self.model.currentText().strip(), Path(self.out.text().strip()).expanduser()
        if not model or model == self.model.itemText(0):
            raise DataError(
                message(
                    "Cluster",
                    expected="a model with patch tokens",
                    found="none",
                    do="Pre-train one on your volumes: unmask pretrain --preset maester.",
                )
            )
        if out.exists():
            raise DataError(
                message(out, expected="a new folder", found="another", do="Choose another name.")
            )
        source = read_source(self.images.layers)
        chosen = (model, out, self.classes.value(), self.quality.currentText())
        self.begin(partial(cluster, source, *chosen), partial(self._show, source))

    def _show(self, source: Source, done: Clusters) -> None:
        data = place(done.labels.astype(np.uint32), source.placement)
        self._layer = self.viewer.add_labels(**data, name=f"{source.name} clusters", opacity=0.5)
        self._clusters = done
        self.table.setRowCount(len(done.rows))
        for number, row in enumerate(done.rows):
            for column, text in enumerate((row["label"], f"{float(row['share']):.1%}", "")):
                self.table.setItem(number, column, QTableWidgetItem(text))
        self.out.setText(str(_new_folder(done.folder.parent)))
        self.say("Click on a structure in the picture, then type its name into its row. Clusters "
                 "of one name become one class; background becomes 0.")  # fmt: skip

    def _clicked(self, viewer: napari.Viewer, event: Any) -> Iterator[None] | None:
        """A click into the picture chooses the row of the cluster under it."""
        del viewer
        layer = self._layer
        if layer is None or event.type != "mouse_press" or layer not in self.viewer.layers:
            return None
        voxel = voxel_under(layer, event.position)
        if voxel is not None and (number := int(np.asarray(layer.data)[voxel])) > 0:
            self.table.setCurrentCell(number - 1, _COLUMNS.index("name"))
            layer.selected_label = number
        return None

    def _select(self, item: QTableWidgetItem) -> None:
        if self._layer is not None:
            self._layer.selected_label = item.row() + 1

    def _name(self) -> None:
        """Write the names, and show the classes that they make."""
        from unmask.clustering.names import read_classes

        done, layer = self._clusters, self._layer
        groups: dict[str, list[int]] = {}
        for row in range(self.table.rowCount()):
            cell = self.table.item(row, _COLUMNS.index("name"))
            name = "" if cell is None else cell.text().strip()
            if name:
                groups.setdefault(name, []).append(row + 1)
        if done is None or layer is None or not groups:
            raise DataError(
                message("names", expected="at least one", found="none", do="Type one into a row.")
            )
        path = done.folder / _NAMES
        lines = [f"{json.dumps(name)}: {numbers}" for name, numbers in groups.items()]
        atomic_write(path, "\n".join(lines) + "\n")
        table, names = read_classes(path, self.table.rowCount())
        lookup = np.concatenate([[0], table]).astype(np.uint32)
        classes = lookup[done.labels]
        state = layer.as_layer_data_tuple()[1]
        kept = ("scale", "translate", "units", "rotate", "shear", "affine")
        shown = {name: state[name] for name in kept if name in state}
        features = {"index": list(names), "name": list(names.values())}
        title = layer.name.replace("clusters", "classes")
        made = self.viewer.add_labels(classes, **shown, name=title, features=features, opacity=0.5)
        target = done.folder / _CLASSES
        save_labels(target, classes.astype(np.uint16), like=like_of(made))
        self.say(f"Saved: {path} and {target}.")


def _new_folder(parent: Path | None = None) -> Path:
    """A folder that does not exist yet."""
    parent = parent or Path.home() / "unmask" / "clusters"
    number = 1
    while (parent / f"napari-{number:03d}").exists():
        number += 1
    return parent / f"napari-{number:03d}"
