"""Proofread a labels layer: uncertain objects first; split, merge, remove, accept, save."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
)

from napari_unmask import saving
from napari_unmask.forms import LayerBox, Panel
from napari_unmask.layers import spacing_of
from napari_unmask.navigation import jump, voxel_under
from napari_unmask.tables import features
from unmask.labels import merge_objects, remove_object, split_object
from unmask.labels.edit import Correction
from unmask.labels.objects import find_objects
from unmask.labels.relabeling import compact

# Objects in the list: a longer one makes the window slow, and nobody reads its end.
_LISTED = 1000
_KEY = Qt.ItemDataRole.UserRole
_UNCERTAINTY = "uncertainty"


@dataclass(frozen=True)
class Item:
    """An object in the list.

    Attributes:
        label: its id.
        center: in voxels.
        size: number of voxels.
        uncertainty: from 0 (certain) to 1; None: not known.
    """

    label: int
    center: tuple[float, ...]
    size: int
    uncertainty: float | None = None

    @property
    def order(self) -> tuple[float, int]:
        """Uncertain objects first, then small ones."""
        return (-(self.uncertainty or 0.0), self.size)


def list_objects(labels: np.ndarray, known: dict[int, float]) -> list[Item]:
    """All objects of a label image, uncertain ones first."""
    found = find_objects(compact(labels))
    ids = np.unique(labels)
    # Objects are found in the order of their ids, even if these were too large to be kept.
    rows = zip(ids[ids != 0].tolist(), found.mean.tolist(), found.size.tolist(), strict=True)
    items = [Item(label, tuple(center), size, known.get(label)) for label, center, size in rows]
    return sorted(items, key=lambda item: item.order)


class Proofread(Panel):
    """Corrections of the objects of a labels layer."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, action="List objects")
        self.labels = LayerBox(napari_viewer, LabelsLayer)
        self.image = LayerBox(napari_viewer, ImageLayer, nothing="none")
        self.image.setToolTip("Image of the labels, whose OME-Zarr can take them.")
        self.items: dict[int, Item] = {}
        self.accepted: set[int] = set()
        self.objects = QListWidget()
        self.objects.setMinimumHeight(140)
        self.count = QLabel()
        self.next_button, self.accept_button = QPushButton("Next"), QPushButton("Accept")
        self.split_button, self.merge_button = QPushButton("Split"), QPushButton("Merge")
        self.remove_button, self.undo_button = QPushButton("Remove"), QPushButton("Undo")
        self.path, self.save_button = QLineEdit(), QPushButton("Save")
        self._layer: LabelsLayer | None = None
        self._points: list[tuple[int, ...]] = []
        self._build()
        self.labels.currentTextChanged.connect(lambda _: self._propose())
        self.image.currentTextChanged.connect(lambda _: self._propose())
        self.objects.itemClicked.connect(lambda _: self._show())
        self.next_button.clicked.connect(self.show_next)
        self.accept_button.clicked.connect(self.accept)
        self.split_button.clicked.connect(lambda: self._wait_for_click(self.split_button))
        self.merge_button.clicked.connect(lambda: self._wait_for_click(self.merge_button))
        self.remove_button.clicked.connect(lambda: self.attempt(self._remove))
        self.undo_button.clicked.connect(self.undo)
        self.save_button.clicked.connect(lambda: self.attempt(self._save))
        self.viewer.mouse_drag_callbacks.append(self._clicked)
        callbacks = self.viewer.mouse_drag_callbacks
        clicked = self._clicked
        self.destroyed.connect(lambda: clicked in callbacks and callbacks.remove(clicked))
        self._propose()

    def _build(self) -> None:
        self.cancel_button.setVisible(False)
        self.form.addRow("Labels", self.labels)
        self.form.addRow("Image", self.image)
        at = self.body.indexOf(self.bar)
        rows: Sequence[Sequence[QPushButton]] = (
            (self.next_button, self.accept_button),
            (self.split_button, self.merge_button, self.remove_button, self.undo_button),
        )
        for button in (self.split_button, self.merge_button):
            button.setCheckable(True)
        self.body.insertWidget(at, self.objects)
        self.body.insertWidget(at + 1, self.count)
        for number, row in enumerate(rows):
            line = QHBoxLayout()
            for button in row:
                line.addWidget(button)
            self.body.insertLayout(at + 2 + number, line)
        line = QHBoxLayout()
        line.addWidget(self.path, 1)
        line.addWidget(self.save_button)
        self.body.insertLayout(at + 2 + len(rows), line)

    # The list

    def start(self) -> None:
        """List the objects of the chosen layer."""
        self.attempt(self._start)

    def _start(self) -> None:
        self._layer = layer = self._editable(self.labels.require("Proofread"))
        self.accepted = saving.accepted_in(layer)
        table = features(layer)
        known: dict[int, float] = {}
        if table is not None and _UNCERTAINTY in table:
            known = {int(key): float(value) for key, value in table[_UNCERTAINTY].items()}
        data = np.asarray(layer.data)
        self.begin(lambda _: list_objects(data, known), self._list)

    def _editable(self, layer: LabelsLayer) -> LabelsLayer:
        """The layer, or a copy in memory of one that is read lazily or as a pyramid."""
        if isinstance(layer.data, np.ndarray):
            return layer
        state = layer.as_layer_data_tuple()[1]
        state.pop("multiscale", None)
        data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
        path = saving.path_of(layer)
        self.viewer.layers.remove(layer)
        copy = self.viewer.add_labels(data, **state)
        if path is not None:
            copy.metadata.setdefault(saving.KEY, {})["path"] = str(path)
        self.labels.choose(copy)
        return copy

    def _list(self, items: list[Item]) -> None:
        self.items = {item.label: item for item in items}
        self._fill(items)
        if not any(item.uncertainty is not None for item in items):
            self.say("No uncertainty is known, so small objects come first. Labels of the form "
                     "Segment have one.")  # fmt: skip
        if items:
            self.objects.setCurrentRow(0)
            self._show()

    def _fill(self, items: Sequence[Item]) -> None:
        self.objects.clear()
        for item in items[:_LISTED]:
            row = QListWidgetItem(self._text(item))
            row.setData(_KEY, item.label)
            self.objects.addItem(row)
        self._count()

    def _text(self, item: Item) -> str:
        doubt = "" if item.uncertainty is None else f", uncertainty {item.uncertainty:.2f}"
        mark = " (accepted)" if item.label in self.accepted else ""
        return f"{item.label}: {item.size} voxels{doubt}{mark}"

    def _count(self) -> None:
        done = len(self.accepted & set(self.items))
        shown = min(len(self.items), _LISTED)
        part = "" if shown == len(self.items) else f", the first {shown} are listed"
        self.count.setText(f"{done} of {len(self.items)} accepted{part}")

    @property
    def current(self) -> int | None:
        """Id of the object that is chosen in the list."""
        row = self.objects.currentItem()
        return None if row is None else int(row.data(_KEY))

    def _show(self) -> None:
        label = self.current
        if label is not None and self._layer is not None and label in self.items:
            jump(self.viewer, self._layer, self.items[label].center, label)

    def show_next(self) -> None:
        """Jump to the next object that is not accepted, from the top again after the last."""
        count, begin = self.objects.count(), self.objects.currentRow()
        for step in range(1, count + 1):
            row = (begin + step) % count
            item = self.objects.item(row)
            if item is not None and int(item.data(_KEY)) not in self.accepted:
                self.objects.setCurrentRow(row)
                self._show()
                return
        self.say("All listed objects are accepted.")

    def accept(self) -> None:
        """Mark the current object as checked, and jump to the next one."""
        row, label = self.objects.currentItem(), self.current
        if row is None or label is None:
            return
        self.accepted.add(label)
        row.setText(self._text(self.items[label]))
        self._count()
        self.show_next()

    # Corrections

    def _wait_for_click(self, button: QPushButton) -> None:
        self._points = []
        others = {self.split_button, self.merge_button} - {button}
        for other in others:
            other.setChecked(False)
        if not button.isChecked():
            return
        if self.current is None or self._layer is None:
            button.setChecked(False)
            self.say("Choose an object in the list first.")
            return
        # A tool of the layer must not paint where the user clicks.
        self._layer.mode = "pan_zoom"
        split = button is self.split_button
        self.say(
            f"Object {self.current}: click on the middle of each of its two parts."
            if split
            else f"Object {self.current}: click on the object that belongs to it."
        )

    def _clicked(self, viewer: napari.Viewer, event: Any) -> Iterator[None] | None:
        """A click into the picture while Split or Merge waits for it."""
        del viewer
        waiting = self.split_button.isChecked() or self.merge_button.isChecked()
        if not waiting or self._layer is None or event.type != "mouse_press":
            return None
        voxel = voxel_under(self._layer, event.position)
        if voxel is None:
            self.say("Click on an object.")
        elif self.merge_button.isChecked():
            self.merge_button.setChecked(False)
            self.attempt(lambda: self._merge(int(np.asarray(self._layer.data)[voxel])))
        else:
            self._points.append(voxel)
            if len(self._points) == 2:
                self.split_button.setChecked(False)
                self.attempt(self._split)
        return None

    def _split(self) -> None:
        layer, label = self._layer, self.current
        if layer is None or label is None:
            return
        spacing, _ = spacing_of(layer, "ZYX"[-layer.ndim :])
        data = np.asarray(layer.data)
        self._apply(split_object(data, label, self._points, spacing=spacing), keep=label)

    def _merge(self, other: int) -> None:
        if self._layer is None or self.current is None:
            return
        label = self.current
        self._apply(merge_objects(np.asarray(self._layer.data), [label, other]), keep=label)

    def _remove(self) -> None:
        if self._layer is None or self.current is None:
            return
        self._apply(remove_object(np.asarray(self._layer.data), self.current), keep=None)

    def _apply(self, correction: Correction, *, keep: int | None) -> None:
        """Change the layer through its history, so that its own Undo works too."""
        layer = self._layer
        if layer is None:
            return
        before = np.asarray(layer.data)[correction.box.slices]
        changed = np.nonzero(before != correction.labels)
        offset = correction.box.start
        index = tuple(axis + start for axis, start in zip(changed, offset, strict=True))
        layer.data_setitem(index, correction.labels[changed])
        self.relist(keep)

    def undo(self) -> None:
        """Take the last correction back."""
        if self._layer is not None:
            self._layer.undo()
            self.relist(self.current)

    def relist(self, keep: int | None) -> None:
        """List the objects again, with ``keep`` chosen, otherwise the one in its row."""
        if self._layer is None:
            return
        row = self.objects.currentRow()
        known = {
            label: item.uncertainty
            for label, item in self.items.items()
            if item.uncertainty is not None
        }
        data = np.asarray(self._layer.data)
        items = list_objects(data, known)
        self.items = {item.label: item for item in items}
        self.accepted &= set(self.items)
        self._fill(items)
        labels = [item.label for item in items[:_LISTED]]
        row = labels.index(keep) if keep in labels else min(row, len(labels) - 1)
        self.objects.setCurrentRow(row)
        self._show()

    # Saving

    def _propose(self) -> None:
        if self.labels.layer is not None:
            self.path.setText(str(saving.proposed_path(self.labels.layer, self.image.layer)))

    def _save(self) -> None:
        layer = self._layer or self.labels.require("Proofread")
        path = Path(self.path.text().strip()).expanduser()
        saving.save(layer, path, accepted=sorted(self.accepted))
        self.messages.clear()
        self.say(f"Saved: {path}")
