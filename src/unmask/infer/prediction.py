"""Prediction for one image, and what its steps hand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Integer

from unmask.calibration import Calibration
from unmask.data.channel_choice import all_channels
from unmask.infer.picture import label_picture, picture_html
from unmask.infer.uncertainty import object_uncertainty
from unmask.io import Image, Stored
from unmask.io.image import arranged_image
from unmask.space.axes import SPACE

if TYPE_CHECKING:
    from unmask.data.grid import Place
    from unmask.data.source import ImageSource
    from unmask.measurement.table import Table
    from unmask.measurement.tracks import TrackTable


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        labels: ``(*space)``, 0 is background; the smallest unsigned type that holds the ids.
        scores: joined activations ``(S, *space)``, where they were asked for.
        spacing: voxel size of the image, slow axis first.
        provenance: image, settings and versions behind the labels.
        classes: probability of each class of the whole image by name, most probable first, where
            the task classifies whole images; ``labels`` is then its number, from 1, everywhere.
        notes: notes on the labels: foreground that was dropped and why, objects of another size
            than those of the training.
        image: the image, whose intensities ``objects`` measures.
        axes: axes of the labels of a stack or movie, such as "TYX"; None: all are spatial.
        tracks: tracks of the objects of a movie; ids of labels are then tracks. None: not tracked.
        uncertainty: ``(*space)`` uncertainty per voxel in [0, 1]; None: not requested. See
            ``unmask.infer.uncertainty``.
        calibration: maps the uncertainty of an object to the probability that it is right; None:
            the model has no calibration.
    """

    labels: Integer[np.ndarray, "*space"]
    scores: Float32[np.ndarray, "s *space"] | None
    spacing: tuple[float, ...] | None
    provenance: Mapping[str, Any]
    classes: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    image: Image | None = field(default=None, repr=False, compare=False)
    axes: str | None = None
    tracks: TrackTable | None = field(default=None, repr=False, compare=False)
    uncertainty: Float32[np.ndarray, "*space"] | None = field(
        default=None, repr=False, compare=False
    )
    calibration: Calibration | None = field(default=None, repr=False, compare=False)

    @cached_property
    def objects(self) -> Table:
        """One row per object: id, size, position, shape, intensity per channel, uncertainty.

        The definition of every column is in ``unmask.measurement.columns``.
        """
        # Measuring compiles kernels, which a prediction alone does not need.
        from unmask.measurement.stack import join_positions, measure_positions
        from unmask.measurement.volume import Scale, measure_image

        axes = self.axes or SPACE[-self.labels.ndim :]
        stored = Stored(self.labels.shape, self.labels.dtype, axes, self.labels.__getitem__)
        labels = arranged_image(stored, axes, f"C{axes}", source="labels", name="labels")
        unit = None if self.image is None else self.image.unit
        whole = None if self.image is None else all_channels(self.image)

        def measure(part: Image, image: Image | None) -> Table:
            spacing = None if self.spacing is None else self.spacing[-part.ndim :]
            scale = None if spacing is None else Scale(spacing, unit or "unit")
            return measure_image(part, image, scale=scale)

        if self.axes is None:
            table = measure(labels, whole)
            if self.uncertainty is None:
                return table
            known = Image.from_array(self.uncertainty, axes=axes, name="uncertainty")
            return table.extend(object_uncertainty(labels, known).columns(self.calibration))
        divided = self.provenance["apart"]
        parts = measure_positions(labels, whole, divided, measure)
        return join_positions(parts, name=None)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.labels.shape))
        if self.classes:
            name, probability = next(iter(self.classes.items()))
            return f"Prediction({size}: {name} {probability:.3f})"
        scores = "" if self.scores is None else f", scores of {len(self.scores)} channels"
        count = np.count_nonzero(np.unique(self.labels))
        return f"Prediction({size} {self.labels.dtype}: {count} labels{scores})"

    def _repr_html_(self) -> str:
        """A picture with one color per label, for notebooks."""
        return picture_html(label_picture(self.labels), repr(self))


@dataclass(frozen=True)
class OpenedImage:
    """An image that is read as far as it is read at once, and measured.

    Attributes:
        image: as it is in its file.
        place: the part of it that the network sees, and on which grid.
        seen: the image as the network sees it.
        source: gives windows of it.
    """

    image: Image
    place: Place
    seen: Image
    source: ImageSource


@dataclass(frozen=True)
class ScoredImage:
    """The output of the networks for an image.

    Attributes:
        image: as it is in its file.
        place: the part of it that the network saw, and on which grid.
        seen: the image as the network saw it; its voxels are not needed any more.
        scores: joined scores ``(S, *space)`` on the grid of the network.
        uncertainty: of every voxel of the image; None: not computed.
    """

    image: Image
    place: Place
    seen: Image
    scores: np.ndarray
    uncertainty: np.ndarray | None
