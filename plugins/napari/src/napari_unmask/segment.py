"""Segment the chosen layers with a model; the result is a labels layer at the same place."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
from napari.layers import Image as ImageLayer
from napari.layers import Shapes as ShapesLayer
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit

from napari_unmask.forms import LayerBox, LayersList, Panel
from napari_unmask.layers import Source, place, read_source
from napari_unmask.models import ModelBox, with_browser
from napari_unmask.tables import features_of
from napari_unmask.work import Report
from unmask import api
from unmask.checkpoint.card import described_recipe
from unmask.io import Image
from unmask.io.inputs import ArrayInput

if TYPE_CHECKING:
    from unmask.infer.prediction import Prediction

# What the first of three axes is, by the text of the choice.
SPACES = {
    "automatic": "",
    "volume (3D)": "volume",
    "slices (z), each in 2D": "slices",
    "time points": "time",
    "channels first": "channels",
}
_PLANES = {"slices": "z", "time": "t"}
_WHOLE = "whole image"


@dataclass(frozen=True)
class Request:
    """What is segmented, and how.

    Attributes:
        source: the voxels.
        model: model file, run folder or shipped model; None: the shipped model that fits.
        first: what the first of three axes is, a value of `SPACES`.
        channels: numbers or names of channels, separated by commas; "": all.
        diameter: of the objects in voxels; None: as in the training.
        join: join objects of neighboring slices, and track objects over time.
    """

    source: Source
    model: str | None = None
    first: str = ""
    channels: str = ""
    diameter: float | None = None
    join: bool = False


@dataclass(frozen=True)
class Segmented:
    """A prediction with its features table and the seconds that it took."""

    prediction: Prediction
    features: dict[str, np.ndarray]
    seconds: float


def segment(request: Request, report: Report) -> Segmented:
    """Predict in this thread."""
    begin = time.perf_counter()
    source, first = request.source, request.first
    if not first:
        flat = len(source.axes.strip("C")) == len("YX") or _sees_volumes(request.model)
        first = "volume" if flat else "slices"
    planes = _PLANES.get(first) if len(source.axes.strip("C")) > len("YX") else None
    model = request.model
    if model is None and planes is not None:
        from unmask.api.defaults import choose_model_for

        model = choose_model_for(_plane(source), say=report.say)
    words = [word.strip() for word in request.channels.split(",") if word.strip()]
    channels = [int(word) if word.isdecimal() else word for word in words]
    report.say(f"{source.name}: {' x '.join(map(str, source.data.shape))} ({source.axes})")
    result = api.predict(
        model,
        ArrayInput(source.data, source.name),
        axes=source.axes,
        spacing=_spacing(source, planes),
        settings=[f"data.use_channels={json.dumps(channels)}"] if channels else [],
        diameter=request.diameter,
        planes=planes,
        join=request.join and planes is not None,
        progress=report.progress,
    )
    if result.image is not None:
        result = replace(result, image=replace(result.image, unit=source.unit))
    features = features_of(result.objects) if not result.classes else {}
    return Segmented(result, features, time.perf_counter() - begin)


def _plane(source: Source) -> Image:
    """One plane of a stack, which says what model fits."""
    data = np.asarray(source.data[(0,) * (len(source.axes.strip("C")) - len("YX"))])
    return Image.from_array(data, axes=source.axes[-data.ndim :], name=source.name)


def _spacing(source: Source, planes: str | None) -> tuple[float, ...] | None:
    if source.spacing is None or planes != "t":
        return source.spacing
    return source.spacing[-len(source.axes.strip("C").strip("T")) :]


def _sees_volumes(model: str | None) -> bool:
    if model is None:
        return False
    data = described_recipe(api.model_card(model).card, model).data
    # A network may see the sections of a volume.
    return data.ndim > len("YX") or bool(data.sections)


class Segment(Panel):
    """The form of ``unmask.predict``."""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__(napari_viewer, action="Segment")
        self.images = LayersList(napari_viewer, ImageLayer)
        self.images.setToolTip("One image, or several layers that are its channels.")
        self.model = ModelBox()
        self.space = QComboBox()
        self.space.addItems(list(SPACES))
        self.region = LayerBox(napari_viewer, ShapesLayer, nothing=_WHOLE)
        self.region.setToolTip("Only the box around the selected shapes, or around all of them.")
        self.channels = QLineEdit()
        self.channels.setPlaceholderText("all, or 0,2 or DAPI")
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0, 10_000)
        self.diameter.setSpecialValueText("as trained")
        self.join = QCheckBox("join slices, track over time")
        self.uncertainty = QCheckBox("show uncertainty")
        for title, widget in (
            ("Image", self.images),
            ("Model", with_browser(self.model)),
            ("First axis", self.space),
            ("Region", self.region),
            ("Channels", self.channels),
            ("Diameter", self.diameter),
            ("", self.join),
            ("", self.uncertainty),
        ):
            self.form.addRow(title, widget)

    def start(self) -> None:
        """Segment what the form says."""
        self.attempt(self._start)

    def _start(self) -> None:
        first = SPACES[self.space.currentText()]
        source = read_source(self.images.layers, first=first or "volume", region=self.region.layer)
        request = Request(
            source,
            self.model.model,
            first,
            self.channels.text(),
            self.diameter.value() or None,
            self.join.isChecked(),
        )
        self.begin(partial(segment, request), partial(self._show, request))

    def _show(self, request: Request, segmented: Segmented) -> None:
        result, source = segmented.prediction, request.source
        for note in result.notes:
            self.say(note)
        if result.classes:
            name, probability = next(iter(result.classes.items()))
            self.say(f"{source.name}: {name} (probability {probability:.3f})")
            return
        layer = self.viewer.add_labels(**labels_of(segmented, source, request.model))
        if self.uncertainty.isChecked() and result.uncertainty is not None:
            shown = place(result.uncertainty, source.placement, colormap="inferno", opacity=0.6)
            self.viewer.add_image(**shown, name=f"{source.name} uncertainty", blending="additive")
        self.viewer.layers.selection.active = layer
        count = np.count_nonzero(np.unique(result.labels))
        objects = f"{count} object{'' if count == 1 else 's'}"
        self.say(f"{objects} in {segmented.seconds:.1f} s: layer {layer.name}")


def labels_of(segmented: Segmented, source: Source, model: str | None) -> dict[str, Any]:
    """Arguments of the labels layer of a result."""
    result = segmented.prediction
    shown = (model or "objects").rstrip("/\\").replace("\\", "/").split("/")[-1]
    # Corrections need room for new ids.
    labels = result.labels.astype(np.uint32) if result.labels.itemsize < 4 else result.labels
    more: dict[str, Any] = {"name": f"{source.name} {shown}"}
    if segmented.features:
        more["features"] = segmented.features
    more["metadata"] = {"unmask": {"provenance": dict(result.provenance), "image": source.name}}
    return place(labels, source.placement, **more)
