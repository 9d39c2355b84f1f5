"""Train on labels layers and their images: plan, start weights, live curve, stop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Labels as LabelsLayer
from napari.layers import Shapes as ShapesLayer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)

from napari_unmask import models
from napari_unmask.curve import Curve
from napari_unmask.forms import LayerBox, LayersList, Panel
from napari_unmask.layers import Source, labels_image, read_labels, read_source
from napari_unmask.models import ModelBox, with_browser
from napari_unmask.work import Report
from unmask import api
from unmask.errors import DataError, message
from unmask.io import Image

if TYPE_CHECKING:
    from unmask.api.learning import Run
    from unmask.planning.plan import Plan

SPACES = {
    "as the layers are": "volume",
    "labeled slices (z), in 2D": "slices",
    "channels first": "channels",
}
# Milliseconds between two looks at the journal.
_LOOK = 500
_FEWEST = 10


@dataclass(frozen=True)
class Effort:
    """Length of a training and what it begins with.

    Attributes:
        minutes: time for it; 0: ``updates`` count.
        updates: of the weights; 0: as planned.
        init: start weights, as for ``unmask.train``.
        resume: continue the run of the same folder.
        more: changes to the recipe, "KEY=VALUE; ...".
    """

    minutes: float = 0.0
    updates: int = 0
    init: str = "auto"
    resume: bool = False
    more: str = ""

    def settings(self) -> list[str]:
        """Changes to the plan."""
        # A cross-validation would leave a part of the time for the model.
        own = [line.strip() for line in self.more.split(";") if line.strip()]
        if not self.updates:
            return ["train.folds=0", *own]
        every = max(_FEWEST, self.updates // 4)
        return [
            "train.folds=0",
            f"train.steps={self.updates}",
            f"train.warmup={self.updates // 10}",
            f"train.log_every={max(1, self.updates // 100)}",
            f"train.validate_every={every}",
            f"train.save_every={every}",
            *own,
        ]


@dataclass(frozen=True)
class Example:
    """An image and its labels."""

    image: Image
    labels: Image


def examples(
    images: Sequence[ImageLayer], labels: LabelsLayer, *, first: str, region: ShapesLayer | None
) -> list[Example]:
    """What is learned from an image and its labels layer.

    Args:
        images: layers that are the channels of one image.
        labels: its labels.
        first: "slices": each plane with labels is an image of its own.
        region: only the box around these shapes.

    Raises:
        DataError: layers that do not belong together, or no label.
    """
    if labels is None:
        raise DataError(
            message("Train", expected="a labels layer", found="none", do="Paint a few objects.")
        )
    source = read_source(images, first=first, region=region)
    ids = read_labels(labels, source)
    if not np.any(ids.data):
        raise DataError(
            message(
                labels.name,
                expected="labels of a few objects",
                found="background alone",
                do="Paint some objects first.",
            )
        )
    if first != "slices" or len(ids.axes) == len("YX"):
        return [Example(source.as_image(), labels_image(ids))]
    axis, planes = source.axes.index("Z"), np.flatnonzero(ids.data.any(axis=(1, 2)))
    return [_slice_of(source, ids, axis, int(number)) for number in planes]


def _slice_of(source: Source, labels: Source, axis: int, number: int) -> Example:
    spacing = None if source.spacing is None else source.spacing[1:]
    index = (slice(None),) * axis + (number,)
    name = f"{source.name} z{number:04d}"
    axes = source.axes.replace("Z", "")
    image = replace(source, data=source.data[index], axes=axes, spacing=spacing, name=name)
    plane = replace(labels, data=labels.data[number], axes="YX", spacing=spacing, name=name)
    return Example(image.as_image(), labels_image(plane))


def plan(chosen: Sequence[Example], effort: Effort, report: Report) -> Plan:
    """Plan in this thread; say what would be trained, and why."""
    # Opening the form must not wait for torch.
    from unmask.planning.text import describe_plan

    made = api.plan(
        [each.image for each in chosen],
        labels=[each.labels for each in chosen],
        minutes=None if effort.updates else effort.minutes,
        settings=effort.settings(),
    )
    for line in describe_plan(made):
        report.say(line)
    return made


def train(chosen: Sequence[Example], out: Path, effort: Effort, report: Report) -> Run:
    """Plan and train in this thread."""
    return api.train(
        plan(chosen, effort, report),
        images=[each.image for each in chosen],
        labels=[each.labels for each in chosen],
        out=out,
        init=effort.init,
        resume=effort.resume,
    )


class Train(Panel):
    """The form of ``unmask.plan`` and ``unmask.train``."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, action="Train", cancel="Stop")
        self._pairs: list[list[Example]] = []
        self._folder = Path()
        self.images = LayersList(napari_viewer, ImageLayer)
        self.images.setToolTip("One image, or several layers that are its channels.")
        self.labels = LayerBox(napari_viewer, LabelsLayer)
        self.region = LayerBox(napari_viewer, ShapesLayer, nothing="whole image")
        self.region.setToolTip("The box that is completely labeled; the rest is not used.")
        self.space = QComboBox()
        self.space.addItems(list(SPACES))
        self.add_button, self.clear_button = QPushButton("Add pair"), QPushButton("Clear")
        self.pairs = QListWidget()
        self.pairs.setMaximumHeight(60)
        self.pairs.setToolTip("Without a pair here, the layers above are the only one.")
        self.minutes, self.updates = QDoubleSpinBox(), QSpinBox()
        self.minutes.setRange(0.1, 10_000)
        self.minutes.setValue(2)
        self.updates.setRange(0, 1_000_000)
        self.updates.setSpecialValueText("as many as the minutes allow")
        self.init = ModelBox(first="auto", others=("phantoms", "none"))
        self.out = QLineEdit(str(_new_folder()))
        self.settings = QLineEdit()
        self.settings.setPlaceholderText("recipe: KEY=VALUE; KEY=VALUE")
        self.resume = QCheckBox("continue the run in this folder")
        self.plan_button = QPushButton("Plan")
        self.curve = Curve()
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self._look)
        self.add_button.clicked.connect(self.add_pair)
        self.clear_button.clicked.connect(self.clear_pairs)
        self.plan_button.clicked.connect(self.show_plan)
        self.job.ended.connect(self._stop_looking)

    def _build(self) -> None:
        self.buttons.insertWidget(0, self.plan_button)
        for title, widget in (
            ("Images", self.images),
            ("Labels", self.labels),
            ("Region", self.region),
            ("Learn from", self.space),
            ("", _row(self.add_button, self.clear_button)),
            ("Pairs", self.pairs),
            ("Minutes", self.minutes),
            ("Updates", self.updates),
            ("Start weights", with_browser(self.init)),
            ("Run folder", _row(self.out, _folder_button(self.out))),
            ("Settings", self.settings),
            ("", self.resume),
        ):
            self.form.addRow(title, widget)
        self.body.insertWidget(self.body.indexOf(self.bar), self.curve)

    @property
    def effort(self) -> Effort:
        """What the form says of the length and the start."""
        init = self.init.currentText().strip() or "auto"
        resume, more = self.resume.isChecked(), self.settings.text()
        return Effort(self.minutes.value(), self.updates.value(), init, resume, more)

    def add_pair(self) -> None:
        """Keep the chosen layers as one pair of several."""
        self.attempt(self._add_pair)

    def _add_pair(self) -> None:
        chosen = self._chosen()
        known = [each.image.name for pair in self._pairs for each in pair]
        if any(each.image.name in known for each in chosen):
            raise DataError(
                message(
                    chosen[0].image.name,
                    expected="an image that is not among the pairs",
                    found="the same name again",
                    do="Choose another image, or rename the layer.",
                )
            )
        self._pairs.append(chosen)
        names = ", ".join(layer.name for layer in self.images.layers)
        self.pairs.addItem(f"{names}: {self.labels.layer.name}")

    def clear_pairs(self) -> None:
        """Forget the pairs."""
        self._pairs.clear()
        self.pairs.clear()

    def _chosen(self) -> list[Example]:
        first = SPACES[self.space.currentText()]
        given = {"first": first, "region": self.region.layer}
        return examples(self.images.layers, self.labels.layer, **given)

    def _examples(self) -> list[Example]:
        return [each for pair in self._pairs for each in pair] or self._chosen()

    def show_plan(self) -> None:
        """Show the plan and its reasons."""
        self.attempt(self._plan)

    def _plan(self) -> None:
        self.begin(partial(plan, self._examples(), self.effort), lambda _: None)

    def start(self) -> None:
        """Train what the form says."""
        self.attempt(self._start)

    def _start(self) -> None:
        chosen, out = self._examples(), self.out.text().strip()
        self._folder = Path(out).expanduser()
        self.curve.show_records([])
        self._timer.start()
        self.begin(partial(train, chosen, self._folder, self.effort), self._finish)

    def _look(self) -> None:
        from unmask.training.journal import read_journal

        # The journal is not there before the first line.
        with suppress(DataError):
            self.curve.show_records(read_journal(self._folder))

    def _stop_looking(self) -> None:
        self._timer.stop()
        self._look()

    def _finish(self, run: Run) -> None:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in run.metrics.items())
        self.say(f"{run.steps} updates in {run.seconds:.0f} s. {scores}".strip())
        self.say(f"Model: {run.model}. It is the first choice of the form Segment now.")
        models.remember(run.folder)
        self.out.setText(str(_new_folder(Path(run.folder).parent)))


def _new_folder(parent: Path | None = None) -> Path:
    """A folder that does not exist yet."""
    parent = parent or Path.home() / "unmask" / "runs"
    number = 1
    while (parent / f"napari-{number:03d}").exists():
        number += 1
    return parent / f"napari-{number:03d}"


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row


def _folder_button(line: QLineEdit) -> QToolButton:
    button = QToolButton()
    button.setText("...")

    def browse() -> None:
        path = QFileDialog.getExistingDirectory(line, "Folder", str(Path(line.text()).parent))
        if path:
            line.setText(path)

    button.clicked.connect(browse)
    return button
