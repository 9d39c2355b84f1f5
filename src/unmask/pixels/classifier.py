"""A pixel classifier that learns from labels while they are drawn.

Labels can be added, changed and removed at any time; ``fit`` takes seconds, because features of
labeled pixels and of the latest tiles are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer
from torch import nn

from unmask.build import build_normalizer, build_segmenter, build_task
from unmask.data.source import ImageSource
from unmask.errors import DataError, message
from unmask.infer.load import make_predictor
from unmask.infer.predictor import Predictor
from unmask.io import Image, open_image
from unmask.lookup import Choice, build
from unmask.models.decoder_single import SingleDecoder
from unmask.pixels.backbone import PixelFeatures
from unmask.pixels.fit import cross_validate, divide, fit_head
from unmask.pixels.labeled import LabeledPixels, Places, features_at, find_places
from unmask.pixels.memory import Remembered
from unmask.recipe import Part, Recipe
from unmask.space.random import device_seed
from unmask.space.tiling import Tiling
from unmask.tasks.segmenter import Segmenter

# Labeled pixels per class and image; more make a forest larger and hardly better.
MOST_PIXELS = 2000


@dataclass(frozen=True)
class Fitted:
    """A fitted pixel classifier.

    Attributes:
        recipe: builds it again; its backbone has the chosen features only.
        predictor: labels images as a loaded model does.
        weights: of the model file.
        pixels: labeled pixels per label value.
        recall: mean recall of the classes on pixels left out, for every set of features tried.
        features: the chosen set: ``bank``, ``network`` or ``both``.
    """

    recipe: Recipe
    predictor: Predictor
    weights: Mapping[str, torch.Tensor]
    pixels: Mapping[int, int]
    recall: Mapping[str, float]
    features: str

    def __repr__(self) -> str:
        score = self.recall.get(self.features)
        shown = "" if score is None else f", recall {score:.3f} on pixels left out"
        return f"Fitted({sum(self.pixels.values())} pixels of {len(self.pixels)} classes{shown})"


class PixelClassifier:
    """Labeled pixels of images and a head that is fitted to them.

    Args:
        recipe: with the backbone ``pixels``; its crop is the tile of features and of predictions.
        network: weights of ``network`` in the backbone; None: it has none.
        most_bytes: memory for features of tiles.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: Mapping[str, torch.Tensor] | None = None,
        *,
        most_bytes: float = 1e9,
    ) -> None:
        self.recipe = recipe
        self._network = network
        options = dict(recipe.model.backbone.choice.options)
        given = {"ndim": recipe.data.ndim, "in_channels": recipe.data.channels}
        plain = {k: v for k, v in options.items() if not k.startswith("network")}
        self._options: dict[str, dict[str, Any]] = {}
        if options.get("scales", True):
            self._options["bank"] = plain
        if options.get("network") is not None:
            self._options["network"] = {**options, "scales": []}
        table = {"pixels": PixelFeatures}
        parts: dict[str, PixelFeatures] = {
            name: build(Choice("pixels", each), table, "model.backbone", **given)
            for name, each in self._options.items()
        }
        if network is not None and "network" in parts:
            parts["network"].network.load_state_dict(dict(network))  # pyright: ignore[reportOptionalMemberAccess]
        self._parts = parts
        # The filter bank of both sets is computed once.
        self._features = Remembered(list(parts.values()), most_bytes).eval()
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        self._device = torch.device("cpu") if accelerator is None else accelerator
        self._features.to(self._device)
        self._normalize = build_normalizer(recipe)
        far = next(iter(parts.values())).reach
        overlap = max(2 * r / n for r, n in zip(far, recipe.data.crop, strict=True))
        self._overlap = min(0.5, overlap)
        self._images: dict[str, Image] = {}
        self._labels: dict[str, Places] = {}
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def images(self) -> list[str]:
        """Names of the labeled images."""
        return list(self._images)

    def label(
        self,
        image: Image | np.ndarray | str | Path,
        labels: Integer[np.ndarray, "*space"],
        *,
        name: str | None = None,
    ) -> int:
        """Replace all labels of an image; returns the number of labeled pixels that are used.

        Args:
            image: image, array or file.
            labels: ``(*space)`` label image; pixels of the value ``data.ignore_label`` are
                unlabeled.
            name: name of the image in later calls; None: its file.

        Raises:
            DataError: labels have another size, or the file cannot be read.
        """
        if isinstance(image, str | Path):
            image = open_image(image, axes=self.recipe.data.axes, ndim=labels.ndim)
        elif isinstance(image, np.ndarray):
            image = Image.from_array(image, ndim=labels.ndim)
        name = name or image.source
        if labels.shape != tuple(image.shape[1:]):
            raise DataError(
                message(
                    f"labels of {image.source}",
                    expected=f"the size of the image {tuple(image.shape[1:])}",
                    found=f"{labels.shape}",
                    do="Draw on the image itself.",
                )
            )
        ignore, seed = self.recipe.data.ignore_label, self.recipe.train.seed
        seed = device_seed(seed, "places") % 2**32
        places = find_places(labels, ignore, most=MOST_PIXELS, seed=seed)
        if len(places.values) == 0:
            self.remove(name)
            return 0
        self._images[name], self._labels[name] = image, places
        return len(places.values)

    def remove(self, name: str) -> None:
        """Remove an image and its labels."""
        for kept in (self._images, self._labels, self._known):
            kept.pop(name, None)

    def fit(self) -> Fitted:
        """Choose features by cross-validation and fit the head to all labeled pixels.

        Raises:
            DataError: labels of fewer than two classes.
        """
        pixels = self._collect()
        values, classes = np.unique(pixels.values, return_inverse=True)
        counts = {int(v): int((classes == k).sum()) for k, v in enumerate(values)}
        if text := describe_single_class(counts, self.recipe.data.ignore_label):
            raise DataError(text)
        seed, choice = self.recipe.train.seed, self.recipe.model.head.choice
        columns = self._columns()
        recall: dict[str, float] = {}
        if min(counts.values()) > 1:
            folds = divide(classes, pixels.images)
            recall = cross_validate(choice, columns, pixels.features, classes, folds, seed=seed)
        # Of equal sets the first one wins, which is the cheapest.
        chosen = max(columns, key=lambda name: recall.get(name, 0.0))
        features = np.ascontiguousarray(pixels.features[:, columns[chosen]])
        ndim = self.recipe.data.ndim
        head, built = fit_head(choice, features, classes, ndim=ndim, count=len(values), seed=seed)
        return self._finish(chosen, head, Part(name=built.name, **built.options), counts, recall)

    def _collect(self) -> LabeledPixels:
        """Features of all labeled pixels; only those of new pixels are computed."""
        features: list[np.ndarray] = []
        for name, image in self._images.items():
            places = self._labels[name]
            flat = np.asarray(np.ravel_multi_index(tuple(places.voxels.T), image.shape[1:]))
            known, kept = self._known.get(name, (np.zeros(0, np.int64), np.zeros((0, 0))))
            new = ~np.isin(flat, known)
            if new.any():
                found = self._compute(image, places.voxels[new])
                kept = found if len(known) == 0 else np.concatenate([kept, found])
                known = np.concatenate([known, flat[new]])
            order = np.argsort(known)
            rows = kept[order[np.searchsorted(known[order], flat)]]
            self._known[name] = (flat, rows)
            features.append(rows)
        numbers = [np.full(len(p.values), i) for i, p in enumerate(self._labels.values())]
        values = [places.values for places in self._labels.values()]
        if not features:
            return LabeledPixels(np.zeros((0, 1), np.float32), np.zeros(0, int), np.zeros(0, int))
        return LabeledPixels(*(np.concatenate(each) for each in (features, values, numbers)))

    def _compute(self, image: Image, voxels: np.ndarray) -> np.ndarray:
        source = ImageSource(image, channels=self.recipe.data.channels, normalize=self._normalize)
        device = self._device
        return features_at(
            lambda window: self._features(window.to(device))[0],
            source.box,
            image.shape[1:],
            voxels,
            tiling=Tiling(tuple(self.recipe.data.crop), overlap=self._overlap, blend="crop"),
        )

    def _columns(self) -> dict[str, np.ndarray]:
        """Columns of every set of features; the order is that of `PixelFeatures`."""
        found: dict[str, np.ndarray] = {}
        first = 0
        for name, part in self._parts.items():
            found[name] = np.arange(first, first + part.channels[0])
            first += part.channels[0]
        return {**found, "both": np.arange(first)} if len(found) > 1 else found

    def _finish(
        self,
        chosen: str,
        head: nn.Module,
        part: Part,
        counts: Mapping[int, int],
        recall: Mapping[str, float],
    ) -> Fitted:
        recipe = self._describe(chosen, part, sorted(counts))
        task, ndim = build_task(recipe), recipe.data.ndim
        names = list(self._parts) if chosen == "both" else [chosen]
        used = [list(self._parts).index(name) for name in names]
        backbone = _Chosen(self._features, used)
        width = sum(self._parts[name].channels[0] for name in names)
        decoder = SingleDecoder(ndim, [width], [(1,) * ndim])
        segmenter = Segmenter(backbone, decoder, head, task=task, ndim=ndim).to(self._device)
        whole = build_segmenter(recipe, task)
        whole.head.load_state_dict(head.state_dict())
        if self._network is not None and "network" in names:
            whole.backbone.network.load_state_dict(dict(self._network))  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        predictor = make_predictor([segmenter.eval()], recipe, task, self._normalize)
        predictor = replace(predictor, notes={"features": chosen})
        return Fitted(recipe, predictor, whole.state_dict(), dict(counts), dict(recall), chosen)

    def _describe(self, chosen: str, head: Part, values: list[int]) -> Recipe:
        """The recipe of the fitted model."""
        options = dict(self.recipe.model.backbone.choice.options)
        if chosen != "both":
            options = self._options[chosen]
        model = self.recipe.model.model_copy(
            update={"backbone": Part(name="pixels", **options), "head": head}
        )
        classes: dict[str, Any] = {"classes": len(values), "values": values}
        task = Part(name="semantic", **classes)
        infer = self.recipe.infer.model_copy(
            update={"blend": "crop", "overlap": self._overlap, "average": "scores"}
        )
        update = {"model": model, "task": task, "infer": infer}
        return self.recipe.model_copy(update=update)


class _Chosen(nn.Module):
    """Some of the remembered features, as a backbone."""

    def __init__(self, features: Remembered, parts: list[int]) -> None:
        super().__init__()
        self.features, self.chosen = features, parts

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat([self.features.part(n, image) for n in self.chosen], dim=1)]


def describe_single_class(counts: Mapping[int, int], ignore: int | None) -> str:
    """The message for labels of fewer than two classes, from which nothing can be learned; or "".

    Args:
        counts: number of pixels by label value, without ``ignore``.
        ignore: value of unlabeled pixels; None: all are labeled.
    """
    if len(counts) > 1:
        return ""
    rest = "" if ignore is None else f" in addition to {ignore}, which marks unlabeled pixels"
    found = ", ".join(f"{value} ({count} pixels)" for value, count in counts.items())
    hint = " If 0 is a class of its own, --set data.ignore_label=255." if ignore == 0 else ""
    return message(
        "scribbles",
        expected=f"label values of two classes or more{rest}",
        found=found or "none",
        do=f"Label some pixels of another class too, such as the background.{hint}",
    )
