"""From an image to its labels with one model or several."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from unmask.calibration import Calibration
from unmask.data.diameters import ObjectDiameters
from unmask.data.grid import AS_IT_IS, View
from unmask.data.normalize import Normalizer, Percentile
from unmask.data.pairs import Layout
from unmask.data.source import ImageSource
from unmask.errors import DataError, RecipeError, message
from unmask.infer.average import ActivatingSink, Average, activate_in_place, check_average
from unmask.infer.fitting import fit_predictor
from unmask.infer.notes import decode_image, describe
from unmask.infer.origin import Origin
from unmask.infer.prediction import OpenedImage, Prediction, ScoredImage
from unmask.infer.sinks import MemorySink
from unmask.infer.tiles import Sink, run_tiles
from unmask.infer.uncertainty import UncertaintySink, disagreement, voxel_uncertainty
from unmask.infer.views import Flips, Views, mirror
from unmask.io import Image
from unmask.models.memory import Forward, cpu_batch_size, gpu_batch_size
from unmask.models.precision import Precision, arithmetic
from unmask.profiling import stage
from unmask.progress import Progress, part_of
from unmask.space.tiling import Tiling
from unmask.tasks.base import Answer, Task


@dataclass(frozen=True)
class Predictor:
    """One model or an ensemble with everything that prediction needs.

    It runs on the device of its weights; see ``move_predictor``.

    Attributes:
        segmenters: modules with ``logits(image)``; their outputs are averaged.
        task: activates logits and reads labels from joined scores.
        channels: channels that the network sees; see ``unmask.data.channels``.
        tiling: how images are cut into windows.
        views: mirrored views that are averaged.
        normalize: measures each image.
        average: what windows, views and models are averaged in: ``scores``, or ``logits``, which
            are activated afterwards; see ``unmask.infer.average``.
        precision: arithmetic of the network; scores are float32. ``auto`` is bf16 if the device
            computes in it.
        view: the part and the grid of an image that the network sees; labels and scores come back
            on the image's own grid.
        layout: how files are to be understood; None: by themselves.
        notes: more provenance, such as the names of the models.
        fit: what is fitted to each image, ``scale`` and ``size``; see ``infer.fitting``.
        known: an image that the network has seen at this view, and its scores, from the fit.
        block: voxels of a block where an image is predicted in blocks; None: by memory.
        origin: what it was loaded from; None where it was made in memory.
        trained: sizes of the objects that the first model was trained on; None: not known.
        uncertainty: source of the uncertainty, see ``infer.uncertainty``; None: the default.
        compared: mirrored views that are used for the uncertainty alone; scores do not change.
        calibrations: maps from uncertainty to probability: ``scores`` for the scores of one view
            and model, ``views`` if several are compared.
    """

    segmenters: Sequence[nn.Module]
    task: Task
    channels: int
    tiling: Tiling
    views: Views = field(default_factory=Views)
    normalize: Normalizer = field(default_factory=Percentile)
    average: Average = "scores"
    precision: Precision = "auto"
    view: View = AS_IT_IS
    layout: Layout | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    fit: tuple[Literal["scale", "size"], ...] = ()
    known: tuple[Image, Float32[np.ndarray, "s *space"]] | None = field(default=None, repr=False)
    block: tuple[int, ...] | None = None
    origin: Origin | None = None
    trained: ObjectDiameters | None = None
    uncertainty: Literal["scores", "flips"] | None = None
    compared: Flips = ()
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def __repr__(self) -> str:
        networks = f"{len(self.segmenters)} network" + "s" * (len(self.segmenters) > 1)
        return f"Predictor({networks}, {type(self.task).__name__}, tile {self.tiling.window})"

    def __post_init__(self) -> None:
        if not self.segmenters:
            raise RecipeError("Predictor: expected one segmenter or more, found none.")
        check_average(self.average, self.task, self.ndim)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.tiling.window)

    @property
    def compares(self) -> bool:
        """Whether the uncertainty includes the disagreement of several views or models."""
        views = len(self.views.flips) + len(self.compared)
        return not self.views.mirror_positions and views * len(self.segmenters) > 1

    @property
    def calibration(self) -> Calibration | None:
        """Calibration for the source of the uncertainty of this predictor; None: not available."""
        return self.calibrations.get("views" if self.compares else "scores")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        weights = (weight for segmenter in self.segmenters for weight in segmenter.parameters())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def predict(
        self,
        image: Image | np.ndarray,
        *,
        keep_scores: bool = False,
        uncertainty: bool = False,
        progress: Progress | None = None,
    ) -> Prediction:
        """Label one image.

        Args:
            image: opened image, or an array ``(*space)`` or ``(C, *space)``.
            keep_scores: return the joined scores as well.
            uncertainty: return the uncertainty of every voxel as well.
            progress: called with (windows done, windows in all).

        Raises:
            DataError: the image does not fit the model; see ``scores``.
        """
        opened = self._open(image)
        own = fit_predictor(self, opened)
        scored = own.score(own.open(opened), uncertainty=uncertainty, progress=progress)
        return own.decode(scored, keep_scores=keep_scores)

    def open(self, image: Image | np.ndarray) -> OpenedImage:
        """The first of three steps of ``predict``: read and measure the image.

        Raises:
            DataError: the image does not fit the model; see ``scores``.
        """
        opened = self._open(image)
        place = self.view.place(opened)
        seen = place.seen(opened)
        return OpenedImage(opened, place, seen, self._read(seen, self.normalize))

    def score(
        self, opened: OpenedImage, *, uncertainty: bool = False, progress: Progress | None = None
    ) -> ScoredImage:
        """The second step of ``predict``: run the network."""
        doubt: np.ndarray | None = None
        if uncertainty:
            scores, found = self._doubt(opened.source, progress)
            doubt = opened.place.back_scores(found[None])[0]
        elif self.known is not None and self.known[0] is opened.image:
            scores = self.known[1]
        else:
            scores = self._score(opened.source, progress)
        return ScoredImage(opened.image, opened.place, opened.seen, scores, doubt)

    def decode(self, scored: ScoredImage, *, keep_scores: bool = False) -> Prediction:
        """The last step of ``predict``: read labels from the scores."""
        place = scored.place
        answer, facts = decode_image(
            self.task, scored.scores, scored.image, place, trained=self.trained
        )
        with stage("decoding"):
            kept = place.back_scores(scored.scores) if keep_scores else None
        return Prediction(
            answer.labels,
            kept,
            scored.image.spacing,
            self.provenance(scored.image),
            classes=_sorted_classes(answer),
            notes=describe(self.task, facts, place, self.trained),
            uncertainty=scored.uncertainty,
            calibration=None if scored.uncertainty is None else self.calibration,
        )

    def scores(
        self, image: Image | np.ndarray, *, progress: Progress | None = None
    ) -> Float32[np.ndarray, "s *space"]:
        """Joined scores ``(S, *space)`` of one image, on its own grid.

        Raises:
            DataError: another number of axes, channels that do not fit, an unknown voxel size, NaN;
                names the file.
        """
        opened = self._open(image)
        place = self.view.place(opened)
        return place.back_scores(self.score_seen(place.seen(opened), progress=progress))

    def score_seen(
        self,
        image: Image,
        *,
        normalize: Normalizer | None = None,
        progress: Progress | None = None,
    ) -> Float32[np.ndarray, "s *space"]:
        """Joined scores of an image as the network sees it, on the same grid.

        Args:
            image: see ``Predictor.view``.
            normalize: measures the image; None: as the predictor does.
            progress: called with (windows done, windows in all).
        """
        return self._score(self._read(image, normalize or self.normalize), progress)

    def _score(
        self, source: ImageSource, progress: Progress | None
    ) -> Float32[np.ndarray, "s *space"]:
        runs = self.views.runs
        sink = MemorySink(share=1 / len(runs), add=len(runs) > 1)
        for number, flips in enumerate(runs):
            part = part_of(progress, number, len(runs))
            self._run(source, sink, flips, progress=part)
        if self.average == "logits":
            activate_in_place(sink.array, self.task)
        return sink.array

    def doubt_seen(
        self, image: Image, *, progress: Progress | None = None
    ) -> tuple[Float32[np.ndarray, "s *space"], Float32[np.ndarray, "*space"]]:
        """Joined scores and uncertainty of an image as the network sees it, on the same grid."""
        return self._doubt(self._read(image, self.normalize), progress)

    def _doubt(
        self, source: ImageSource, progress: Progress | None
    ) -> tuple[Float32[np.ndarray, "s *space"], Float32[np.ndarray, "*space"]]:
        """Joined scores ``(S, *space)`` and uncertainty in [0, 1], on the grid of the network."""
        runs = self.views.runs
        if len(runs) > 1:
            scores = self._score(source, progress)
            return scores, voxel_uncertainty(self.task, scores)
        scores, doubt = MemorySink(), MemorySink()
        self._run(source, self._divided(scores, doubt), runs[0], doubt=True, progress=progress)
        return scores.array, doubt.array[0]

    def write_scores(
        self,
        image: Image | np.ndarray,
        sink: Sink,
        *,
        doubt: Sink | None = None,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        """Write joined scores to ``sink`` while they are made; memory stays small.

        They are on the grid of ``view.place(image).shape``.

        Args:
            image: opened image or array.
            sink: for example a ``ZarrSink``.
            doubt: receives the uncertainty ``(1, *space)``; None: it is not computed.
            first: lines that are there already, ``ZarrSink.lines`` of an interrupted run.
            progress: called with (windows done, windows in all).

        Raises:
            RecipeError: ``mirror_positions`` needs several runs over the image.
        """
        runs = self.views.runs
        if len(runs) > 1:
            raise RecipeError(
                "mirror_positions: expected scores in memory, found a sink that is written once. "
                "Use Predictor.scores, or mirror_positions=False."
            )
        target = ActivatingSink(sink, self.task) if self.average == "logits" else sink
        if doubt is not None:
            target = self._divided(sink, doubt)
        opened = self._open(image)
        source = self._read(self.view.place(opened).seen(opened), self.normalize)
        given = {"first": first, "progress": progress}
        self._run(source, target, runs[0], doubt=doubt is not None, **given)

    def _divided(self, scores: Sink, doubt: Sink) -> UncertaintySink:
        """Sink for the output of `_join` with ``doubt``."""
        raw = self.average == "logits"
        return UncertaintySink(scores, doubt, self.task, spread=self.compares, raw=raw)

    def forward(
        self, windows: Float[Tensor, "b c *space"], flips: Flips = ((),)
    ) -> Float32[Tensor, "b s *space"]:
        """Scores of windows, averaged over mirrored views and models; all views in one batch."""
        joined = self._join(windows, flips)
        return self.task.activate(joined).float() if self.average == "logits" else joined

    def _join(
        self, windows: Float[Tensor, "b c *space"], flips: Flips, *, doubt: bool = False
    ) -> Float32[Tensor, "b s *space"]:
        """Join the outputs of all views and models: scores, or raw outputs that are not activated.

        With ``doubt``, the disagreement of views and models is an additional last channel, if
        several are compared.
        """
        device = self.device
        image = windows.to(device, non_blocking=True)
        outputs = self._outputs(image, flips, device)
        joined = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)
        if flips == ((),):
            joined = joined.contiguous()
        else:
            joined = torch.stack(self._mirrored_back(joined, flips)).mean(dim=0)
        if not (doubt and self.compares):
            return joined
        members = [part for each in outputs for part in self._mirrored_back(each, flips)]
        if self.compared:
            others = self._outputs(image, self.compared, device)
            members += [
                part for each in others for part in self._mirrored_back(each, self.compared)
            ]
        if self.average == "logits":
            members = [self.task.activate(member) for member in members]
        return torch.cat([joined, disagreement(members)], dim=1)

    def _mirrored_back(self, outputs: Tensor, flips: Flips) -> list[Tensor]:
        """The outputs of each view in the orientation of the image."""
        parts = zip(outputs.chunk(len(flips)), flips, strict=True)
        return [reduce(self.task.flip, axes, part) for part, axes in parts]

    def _outputs(self, image: Tensor, flips: Flips, device: torch.device) -> list[Tensor]:
        """Raw outputs or scores of each model for all views of the windows, in one batch."""
        views = [mirror(image, axes) for axes in flips]
        batch = torch.cat(views) if len(views) > 1 else views[0]
        found: list[Tensor] = []
        dtype = arithmetic(self.precision, device)
        for segmenter in self.segmenters:
            with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
                logits: Tensor = segmenter.logits(batch)  # pyright: ignore[reportCallIssue]
            raw = logits.float()
            found.append(raw if self.average == "logits" else self.task.activate(raw).float())
        return found

    def _run(
        self,
        source: ImageSource,
        sink: Sink,
        flips: Flips,
        *,
        doubt: bool = False,
        first: int = 0,
        progress: Progress | None = None,
    ) -> None:
        forward = partial(self._join, flips=flips, doubt=doubt)
        mirrored = flips[0] if self.views.mirror_positions else ()
        with _evaluate(self.segmenters), torch.inference_mode():
            tiling = self.tiling.adapted(source.shape[1:])
            size = self._batch_size(forward, tiling.window)
            tiling = replace(tiling, mirrored=mirrored, batch_size=size)
            run_tiles(forward, source, sink, tiling=tiling, first=first, progress=progress)

    def _batch_size(self, forward: Forward, window: tuple[int, ...]) -> int:
        if self.tiling.batch_size is not None:
            return self.tiling.batch_size
        if self.device.type != "cuda":
            return cpu_batch_size(window)
        return gpu_batch_size(forward, torch.zeros((1, self.channels, *window)), self.device)

    def _open(self, image: Image | np.ndarray) -> Image:
        if isinstance(image, np.ndarray):
            return Image.from_array(image, ndim=self.ndim)
        if len(image.shape) != self.ndim + 1:
            raise DataError(
                message(
                    image.source,
                    expected=f"{self.ndim} spatial axes (infer.tile = {self.tiling.window})",
                    found=f"{len(image.shape) - 1} (size {tuple(image.shape[1:])})",
                    do="Use a model for them, or name the file's axes (--set data.axes=ZYX).",
                )
            )
        return image

    def _read(self, image: Image, normalize: Normalizer) -> ImageSource:
        return ImageSource(image, channels=self.channels, normalize=normalize)

    def provenance(self, image: Image) -> dict[str, Any]:
        """Image, settings and versions behind a prediction, as JSON values."""
        return {
            "image": image.source,
            "models": len(self.segmenters),
            "task": repr(self.task),
            "normalize": repr(self.normalize),
            "view": repr(self.view),
            "tile": list(self.tiling.window),
            "overlap": self.tiling.overlap,
            "blend": self.tiling.blend,
            "pad": self.tiling.pad,
            **({} if self.tiling.adapt is None else {"adapt_tile": self.tiling.adapt}),
            "flips": [list(axes) for axes in self.views.flips],
            "mirror_positions": self.views.mirror_positions,
            "average": self.average,
            "precision": self.precision,
            "device": str(self.device),
            "torch": torch.__version__,
            **({"fit": list(self.fit)} if self.fit else {}),
            **self.notes,
        }


def move_predictor(predictor: Predictor, device: torch.device | str) -> Predictor:
    """Move the weights of a predictor to a device; the modules themselves are changed."""
    if torch.device(device).type == "cuda":
        # Windows have one size, so that the fastest kernel of each convolution is found once.
        torch.backends.cudnn.benchmark = True
    for segmenter in predictor.segmenters:
        segmenter.to(device)
    return predictor


def _sorted_classes(answer: Answer) -> dict[str, float] | None:
    """Probabilities of classes, largest first; None if the label image is the answer."""
    if answer.classes is None:
        return None
    return dict(sorted(answer.classes.items(), key=lambda pair: -pair[1]))


@contextmanager
def _evaluate(modules: Sequence[nn.Module]) -> Generator[None, None, None]:
    """Evaluation mode, and afterwards the mode before: a training run may continue."""
    training = [module for module in modules if module.training]
    for module in training:
        module.eval()
    try:
        yield
    finally:
        for module in training:
            module.train()
