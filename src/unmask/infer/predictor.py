"""From an image to its labels with one model or several."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor, nn

from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import AS_IT_IS, View
from unmask.data.normalize import Normalizer, Percentile
from unmask.data.pairs import Layout
from unmask.errors import DataError, RecipeError, message
from unmask.infer.average import ActivatingSink, Average, activate_in_place, check_average
from unmask.infer.memory import Forward, cpu_batch_size, gpu_batch_size
from unmask.infer.notes import decode_scores, describe
from unmask.infer.picture import label_picture, picture_html
from unmask.infer.sinks import MemorySink
from unmask.infer.source import ImageSource
from unmask.infer.tiles import Progress, Sink, Tiling, run_tiles
from unmask.io import Image, smallest_uint
from unmask.space.bf16 import has_bf16
from unmask.tasks.base import Task, WholeImage

Precision = Literal["auto", "32", "bf16", "16"]
Flips = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Prediction:
    """What was found in one image.

    Attributes:
        labels: ``(*space)``, 0 is background; the smallest unsigned type that holds the ids.
        scores: joined activations ``(S, *space)``, where they were asked for.
        spacing: voxel size of the image, slow axis first.
        provenance: image, settings and versions behind the labels.
        classes: probability of each class of the whole image by name, most probable first, where
            that is what the task says; ``labels`` is its number from 1 on everywhere then.
        notes: what a user should know of the labels: foreground that was dropped and why, objects
            of another size than those of the training.
    """

    labels: Integer[np.ndarray, "*space"]
    scores: Float32[np.ndarray, "s *space"] | None
    spacing: tuple[float, ...] | None
    provenance: Mapping[str, Any]
    classes: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()

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
class Origin:
    """What a predictor was loaded from: another process can load it again.

    Attributes:
        models: absolute paths of model files or runs, or names of shipped models.
        settings: changes to the first model's recipe.
        allow_code: the user allows that code of the models runs.
    """

    models: tuple[str, ...]
    settings: tuple[str, ...] = ()
    allow_code: bool = False


@dataclass(frozen=True)
class Predictor:
    """One model or an ensemble with everything that prediction needs.

    Attributes:
        segmenters: modules with ``logits(image)``; what they give is averaged.
        task: activates logits and reads labels from joined scores.
        ndim: number of spatial axes.
        channels: channels that the network sees; see ``unmask.data.channels``.
        tile: window in voxels.
        normalize: measures each image.
        overlap: share of a window that the next one sees again.
        blend: ``gaussian`` or ``crop``, see ``Tiling``.
        pad: ``mirror`` or ``zero`` around images smaller than a window.
        tta: average over mirrored windows: identity and every axis alone, or a list of the axes
            mirrored together, such as ``((), (0,), (1,), (0, 1))``.
        mirror_positions: mirror the positions of windows too, as if the whole image were mirrored
            (the published inference of MEDIAR); costs one run over the image for each view.
        average: what windows, views and models are averaged in: ``scores``, or ``logits``, which
            are activated afterwards; see ``unmask.infer.average``.
        batch_size: windows at once; None: by memory.
        precision: arithmetic of the network; scores are float32. ``auto`` is bf16 where the device
            computes in it.
        device: where the network runs; None: where its weights are.
        view: the part and the grid of an image that the network sees; labels and scores come back
            on the image's own grid.
        layout: how files are to be understood; default: by themselves.
        notes: more provenance, such as the names of the models.
        block: voxels of a block where an image is predicted in blocks; None: by memory.
        origin: what it was loaded from; None where it was made in memory.
        trained: sizes of the objects that the first model was trained on; None: not known.
    """

    segmenters: Sequence[nn.Module]
    task: Task
    ndim: int
    channels: int
    tile: tuple[int, ...]
    normalize: Normalizer = field(default_factory=Percentile)
    overlap: float = 0.25
    blend: str = "gaussian"
    pad: str = "mirror"
    tta: bool | Sequence[Sequence[int]] = False
    mirror_positions: bool = False
    average: Average = "scores"
    batch_size: int | None = None
    precision: Precision = "auto"
    device: torch.device | str | None = None
    view: View = AS_IT_IS
    layout: Layout | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    block: tuple[int, ...] | None = None
    origin: Origin | None = None
    trained: ObjectDiameters | None = None

    def __repr__(self) -> str:
        networks = f"{len(self.segmenters)} network" + "s" * (len(self.segmenters) > 1)
        return f"Predictor({networks}, {type(self.task).__name__}, tile {tuple(self.tile)})"

    def __post_init__(self) -> None:
        if not self.segmenters:
            raise RecipeError("Predictor: expected one segmenter or more, found none.")
        if len(self.tile) != self.ndim:
            raise RecipeError(
                f"infer.tile={tuple(self.tile)}: expected {self.ndim} axes, found "
                f"{len(self.tile)}. Give one number for each spatial axis."
            )
        _ = self.flips, self.tiling
        check_average(self.average, self.task, self.ndim)
        place = torch.device(self.device) if self.device is not None else self._weights_device()
        object.__setattr__(self, "device", place)
        object.__setattr__(self, "layout", self.layout or Layout(self.ndim))
        for segmenter in self.segmenters:
            segmenter.to(place)

    @property
    def tiling(self) -> Tiling:
        """How images are cut."""
        return Tiling(
            window=tuple(self.tile),
            overlap=self.overlap,
            blend=self.blend,
            pad=self.pad,
            batch_size=self.batch_size,
        )

    @property
    def flips(self) -> Flips:
        """Axes mirrored together in each view that is averaged."""
        if isinstance(self.tta, bool):
            alone = tuple((axis,) for axis in range(self.ndim)) if self.tta else ()
            return ((), *alone)
        views = tuple(tuple(axes) for axes in self.tta)
        if not views or any(not 0 <= axis < self.ndim for axes in views for axis in axes):
            raise RecipeError(
                f"tta={self.tta}: expected lists of axes 0 .. {self.ndim - 1}, such as "
                "[[], [0], [1]]. Change infer.tta."
            )
        return views

    def predict(
        self,
        image: Image | np.ndarray,
        *,
        keep_scores: bool = False,
        progress: Progress | None = None,
    ) -> Prediction:
        """Label one image.

        Args:
            image: opened image, or an array ``(*space)`` or ``(C, *space)``.
            keep_scores: return the joined scores as well.
            progress: called with (windows done, windows in all).

        Raises:
            DataError: the image does not fit the model; see ``scores``.
        """
        opened = self._opened(image)
        place = self.view.place(opened)
        seen = place.seen(opened)
        scores = self._scores(seen, progress)
        labels, facts = decode_scores(self.task, scores, seen, trained=self.trained)
        labels = place.back(smallest_uint(labels))
        kept = place.back_scores(scores) if keep_scores else None
        return Prediction(
            labels,
            kept,
            opened.spacing,
            self.provenance(opened),
            classes=self._classes(scores),
            notes=describe(self.task, facts, place, self.trained),
        )

    def scores(
        self, image: Image | np.ndarray, *, progress: Progress | None = None
    ) -> Float32[np.ndarray, "s *space"]:
        """Joined scores ``(S, *space)`` of one image, on its own grid.

        Raises:
            DataError: another number of axes, channels that do not fit, an unknown voxel size, NaN;
                names the file.
        """
        opened = self._opened(image)
        place = self.view.place(opened)
        return place.back_scores(self._scores(place.seen(opened), progress))

    def _scores(self, image: Image, progress: Progress | None) -> Float32[np.ndarray, "s *space"]:
        """Joined scores of an image as the network sees it."""
        views = self._views()
        sink = MemorySink(share=1 / len(views), add=len(views) > 1)
        source = self._source(image)
        for number, flips in enumerate(views):
            part = _share_of(progress, number, len(views))
            self._run(source, sink, flips, progress=part)
        if self.average == "logits":
            activate_in_place(sink.array, self.task)
        return sink.array

    def write_scores(
        self,
        image: Image | np.ndarray,
        sink: Sink,
        *,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Write joined scores to ``sink`` while they are made; memory stays small.

        They are on the grid of ``view.place(image).shape``.

        Args:
            image: opened image or array.
            sink: for example a ``ZarrSink``.
            first: lines that are there already, ``ZarrSink.lines`` of an interrupted run.
            progress: called with (windows done, windows in all).

        Raises:
            RecipeError: ``mirror_positions`` needs several runs over the image.
        """
        views = self._views()
        if len(views) > 1:
            raise RecipeError(
                "mirror_positions: expected scores in memory, found a sink that is written once. "
                "Use Predictor.scores, or mirror_positions=False."
            )
        target = ActivatingSink(sink, self.task) if self.average == "logits" else sink
        opened = self._opened(image)
        source = self._source(self.view.place(opened).seen(opened))
        self._run(source, target, views[0], first=first, progress=progress)

    def forward(
        self, windows: Float[Tensor, "b c *space"], flips: Flips = ((),)
    ) -> Float32[Tensor, "b s *space"]:
        """Scores of windows, averaged over mirrored views and models; all views in one batch."""
        joined = self._joined(windows, flips)
        return self.task.activate(joined).float() if self.average == "logits" else joined

    def _joined(
        self, windows: Float[Tensor, "b c *space"], flips: Flips
    ) -> Float32[Tensor, "b s *space"]:
        """What windows are blended in: scores, or raw outputs that are activated afterwards."""
        place = torch.device(self.device or "cpu")
        image = windows.to(place, non_blocking=True)
        views = [mirrored(image, axes) for axes in flips]
        scores = self._ensemble(torch.cat(views) if len(views) > 1 else views[0], place)
        if flips == ((),):
            return scores.contiguous()
        parts = zip(scores.chunk(len(flips)), flips, strict=True)
        back = [reduce(self.task.flip, axes, part) for part, axes in parts]
        return torch.stack(back).mean(dim=0)

    def _classes(self, scores: Float[np.ndarray, "s *space"]) -> dict[str, float] | None:
        """Probabilities by class, the largest first, of a task about whole images."""
        if not isinstance(self.task, WholeImage):
            return None
        shares = zip(self.task.names, map(float, self.task.shares(scores)), strict=True)
        return dict(sorted(shares, key=lambda pair: -pair[1]))

    def _ensemble(self, batch: Tensor, place: torch.device) -> Tensor:
        """Mean of the models."""
        found: list[Tensor] = []
        dtype = arithmetic(self.precision, place)
        for segmenter in self.segmenters:
            with torch.autocast(place.type, dtype or torch.bfloat16, enabled=dtype is not None):
                logits: Tensor = segmenter.logits(batch)  # pyright: ignore[reportCallIssue]
            raw = logits.float()
            found.append(raw if self.average == "logits" else self.task.activate(raw).float())
        return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)

    def _run(
        self,
        source: ImageSource,
        sink: Sink,
        flips: Flips,
        *,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        tiling = self.tiling
        if self.mirror_positions:
            tiling = replace(tiling, mirrored=flips[0])
        forward = partial(self._joined, flips=flips)
        with _evaluating(self.segmenters), torch.inference_mode():
            tiling = replace(tiling, batch_size=self._batch_size(forward))
            run_tiles(forward, source, sink, tiling=tiling, first=first, progress=progress)

    def _batch_size(self, forward: Forward) -> int:
        place = torch.device(self.device or "cpu")
        if self.batch_size is not None:
            return self.batch_size
        if place.type != "cuda":
            return cpu_batch_size(self.tile)
        return gpu_batch_size(forward, torch.zeros((1, self.channels, *self.tile)), place)

    def _views(self) -> list[Flips]:
        """Views that share a run over the image."""
        return [(axes,) for axes in self.flips] if self.mirror_positions else [self.flips]

    def _opened(self, image: Image | np.ndarray) -> Image:
        if isinstance(image, np.ndarray):
            return Image.from_array(image, ndim=self.ndim)
        if len(image.shape) != self.ndim + 1:
            raise DataError(
                message(
                    image.source,
                    expected=f"{self.ndim} spatial axes (infer.tile = {tuple(self.tile)})",
                    found=f"{len(image.shape) - 1} (size {tuple(image.shape[1:])})",
                    do="Use a model for them, or name the file's axes (--set data.axes=ZYX).",
                )
            )
        return image

    def _source(self, image: Image) -> ImageSource:
        return ImageSource(image, channels=self.channels, normalize=self.normalize)

    def _weights_device(self) -> torch.device:
        weights = (weight for segmenter in self.segmenters for weight in segmenter.parameters())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def provenance(self, image: Image) -> dict[str, Any]:
        """Image, settings and versions behind a prediction, as JSON values."""
        return {
            "image": image.source,
            "models": len(self.segmenters),
            "task": repr(self.task),
            "normalize": repr(self.normalize),
            "view": repr(self.view),
            "tile": list(self.tile),
            "overlap": self.overlap,
            "blend": self.blend,
            "pad": self.pad,
            "flips": [list(axes) for axes in self.flips],
            "mirror_positions": self.mirror_positions,
            "average": self.average,
            "precision": self.precision,
            "device": str(self.device),
            "torch": torch.__version__,
            **self.notes,
        }


def arithmetic(precision: Precision, device: torch.device) -> torch.dtype | None:
    """Type that the network computes in under autocast; None: float32 as it is.

    ``auto`` is bf16 where the device has instructions for it.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device.type) else None
    return {"32": None, "bf16": torch.bfloat16, "16": torch.float16}[precision]


def mirrored(image: Float[Tensor, "b c *space"], axes: Sequence[int]) -> Tensor:
    """The image mirrored along spatial axes (0 = slowest); itself where there are none."""
    return torch.flip(image, [2 + axis for axis in axes]) if axes else image


@contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Generator[None, None, None]:
    """Evaluation mode, and afterwards the mode that was: a training run may go on."""
    training = [module for module in modules if module.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()


def _share_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Progress of run ``number`` as a part of ``count`` equal runs."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(number * total + done, count * total)
