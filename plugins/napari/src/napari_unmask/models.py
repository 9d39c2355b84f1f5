"""Models that can be chosen: shipped ones, and those that were trained in this session."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QToolButton, QWidget

from unmask import api

AUTOMATIC = "automatic"
_TRAINED: list[str] = []


def remember(model: Path) -> None:
    """Offer a trained model in all forms, before the others."""
    text = str(model)
    if text in _TRAINED:
        _TRAINED.remove(text)
    _TRAINED.insert(0, text)


class ModelBox(QComboBox):
    """A shipped model, a file or run folder, or an empty text for an automatic choice."""

    def __init__(self, *, first: str = AUTOMATIC, others: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._first, self._others = first, others
        self.setEditable(True)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        # A long path must not widen the whole window.
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        self.refresh()
        self.setToolTip("Name of a shipped model, model file or run folder; type it or browse.")

    def showPopup(self) -> None:  # noqa: N802 - Qt's name
        """Show the list with the newest models."""
        self.refresh()
        super().showPopup()

    def refresh(self) -> None:
        """List the models that are known now; the text stays."""
        text = self.currentText()
        names = [self._first, *self._others, *_TRAINED]
        names += [model.name for model in api.shipped_models()]
        self.clear()
        self.addItems(list(dict.fromkeys(names)))
        self.setCurrentText(text or self._first)

    def choose(self, model: str | Path) -> None:
        """Choose a model."""
        self.refresh()
        self.setCurrentText(str(model))

    @property
    def model(self) -> str | None:
        """The model; None for the automatic choice."""
        text = self.currentText().strip()
        return None if text in ("", AUTOMATIC) else text


def with_browser(box: ModelBox) -> QWidget:
    """The box next to a button that opens a file dialog."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    button = QToolButton()
    button.setText("...")
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    layout.addWidget(box, 1)
    layout.addWidget(button)

    def browse() -> None:
        path, _ = QFileDialog.getOpenFileName(row, "Model", "", "Models (*.safetensors)")
        if path:
            box.choose(path)

    button.clicked.connect(browse)
    return row
