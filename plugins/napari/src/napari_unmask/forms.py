"""What the forms share: choices of layers, and a panel with a button, progress and messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import napari
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_unmask.work import Job, Outcome, Report
from unmask.errors import DataError, UnmaskError, message

_KEY = Qt.ItemDataRole.UserRole


class LayerBox(QComboBox):
    """One layer of a kind; it follows the list of layers.

    Args:
        viewer: whose layers.
        kind: class of the layers.
        nothing: text of the choice of no layer; None: there is no such choice.
    """

    def __init__(
        self, viewer: napari.Viewer, kind: type[Layer], *, nothing: str | None = None
    ) -> None:
        super().__init__()
        self._viewer, self._kind, self._nothing = viewer, kind, nothing
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        _follow(viewer, self, self.refresh)

    def refresh(self, _event: Any = None) -> None:
        """List the layers; the choice stays as long as its layer does."""
        before = self.layer
        names = [layer.name for layer in self._viewer.layers if isinstance(layer, self._kind)]
        self.blockSignals(True)  # noqa: FBT003 - Qt's own argument
        self.clear()
        self.addItems(([] if self._nothing is None else [self._nothing]) + names)
        if before is not None and before.name in names:
            self.setCurrentText(before.name)
        elif self._nothing is None and names:
            self.setCurrentText(names[-1])
        self.blockSignals(False)  # noqa: FBT003
        if self.layer is not before:
            self.currentTextChanged.emit(self.currentText())

    @property
    def layer(self) -> Any:
        """The layer; None if none is chosen."""
        name = self.currentText()
        if not name or name == self._nothing or name not in self._viewer.layers:
            return None
        return self._viewer.layers[name]

    def require(self, asker: str) -> Any:
        """The layer, for the form named ``asker``.

        Raises:
            DataError: none is chosen.
        """
        if self.layer is None:
            raise DataError(message(asker, expected="a labels layer", found="none", do="Open one."))
        return self.layer

    def choose(self, layer: Layer) -> None:
        """Choose a layer of the viewer."""
        self.refresh()
        self.setCurrentText(layer.name)


class LayersList(QListWidget):
    """Several layers of a kind, one with a click, more with Ctrl and a click."""

    def __init__(self, viewer: napari.Viewer, kind: type[Layer]) -> None:
        super().__init__()
        self._viewer, self._kind = viewer, kind
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setMaximumHeight(90)
        _follow(viewer, self, self.refresh)

    def refresh(self, _event: Any = None) -> None:
        """List the layers; the newest is chosen if none of the chosen ones is left."""
        chosen = [layer.name for layer in self.layers]
        names = [layer.name for layer in self._viewer.layers if isinstance(layer, self._kind)]
        kept = [name for name in chosen if name in names] or names[-1:]
        self.clear()
        for name in names:
            item = QListWidgetItem(name)
            self.addItem(item)
            item.setSelected(name in kept)

    @property
    def layers(self) -> list[Any]:
        """The chosen layers, in the order of the viewer."""
        names = {item.text() for item in self.selectedItems()}
        return [layer for layer in self._viewer.layers if layer.name in names]


def _follow(viewer: napari.Viewer, widget: QWidget, refresh: Callable[[Any], None]) -> None:
    """Call ``refresh`` now and whenever layers come, go or get another name."""
    events = viewer.layers.events
    watched = (events.inserted, events.removed, events.reordered, events.renamed)

    def changed(_event: Any = None) -> None:
        refresh(None)

    for event in watched:
        event.connect(changed)

    def forget() -> None:
        for event in watched:
            event.disconnect(changed)

    widget.destroyed.connect(forget)
    refresh(None)


class Panel(QWidget):
    """A form with a button that starts work, a progress bar, Cancel and messages."""

    def __init__(self, viewer: napari.Viewer, *, action: str, cancel: str = "Cancel") -> None:
        super().__init__()
        self.viewer = viewer
        self.job = Job(self)
        self.form = QFormLayout()
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.run_button = QPushButton(action)
        self.cancel_button = QPushButton(cancel)
        self.cancel_button.setEnabled(False)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.messages = QPlainTextEdit()
        self.messages.setReadOnly(True)
        self.messages.setMinimumHeight(70)
        self.buttons = QHBoxLayout()
        self.buttons.addWidget(self.run_button)
        self.buttons.addWidget(self.cancel_button)
        self.body = QVBoxLayout(self)
        self.body.addLayout(self.form)
        self.body.addLayout(self.buttons)
        self.body.addWidget(self.bar)
        self.body.addWidget(self.messages)
        self._done: Callable[[Any], None] | None = None
        self.run_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.job.cancel)
        self.job.progressed.connect(self._show_progress)
        self.job.said.connect(self.say)
        self.job.ended.connect(self._end)

    def start(self) -> None:
        """Start the work of the form; each form has its own."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Show a line."""
        self.messages.appendPlainText(text)

    def begin(self, work: Callable[[Report], Any], done: Callable[[Any], None]) -> None:
        """Run ``work`` in a worker thread; ``done`` gets its result in this thread."""
        if self.job.running:
            return
        self._done = done
        self.messages.clear()
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        # Without a length the bar shows that work is under way.
        self.bar.setRange(0, 0)
        self.bar.setVisible(True)
        self.job.start(work)

    def _show_progress(self, done: int, total: int) -> None:
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)

    def _end(self, outcome: Outcome) -> None:
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.bar.setVisible(False)
        if outcome.cancelled:
            self.say(f"Stopped. {outcome.error}".strip())
        elif outcome.error:
            self.say(outcome.error)
        elif self._done is not None:
            self.attempt(lambda: self._done and self._done(outcome.value))

    def attempt(self, action: Callable[[], Any]) -> bool:
        """Do something at once; returns whether it worked, otherwise the reason is shown."""
        try:
            action()
        except (UnmaskError, OSError) as error:
            self.messages.clear()
            self.say(str(error))
            return False
        return True
